"""Reads rendered manifests, holds every object against the schemas of Kubernetes, and prints what it read as JSON.

Usage: objects.py FILE:VERSION,.. ...      prints {"objects": {FILE: [...]}, "complaints": [...]}
"""

import functools
import json
import sys

import jsonschema
import kubernetes_validate
from kubernetes_validate import utils
import yaml

# The package reads megabytes of definitions for every object: once is enough.
utils.schema_contents = functools.lru_cache(maxsize=None)(utils.schema_contents)

STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}


def resource(properties, required):
    """An object of somebody else's kind: nothing but what is named."""
    known = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    return {
        "type": "object",
        "properties": {**known, **properties},
        "required": ["apiVersion", "kind", "metadata", *required],
        "additionalProperties": False,
    }


def closed(properties, required):
    """An object with nothing but what is named."""
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


CLASS = resource(
    {"driver": {"type": "string"}, "deletionPolicy": {"enum": ["Delete", "Retain"]}, "parameters": STRINGS},
    ["driver", "deletionPolicy"],
)
RELABELING = closed(
    {
        "sourceLabels": {"type": "array", "items": {"type": "string"}},
        "targetLabel": {"type": "string"},
    },
    [],
)
ENDPOINT = closed(
    {
        "port": {"type": "string"},
        "path": {"type": "string"},
        "interval": {"type": "string", "pattern": "^[0-9]+[smh]$"},
        "relabelings": {"type": "array", "items": RELABELING},
    },
    ["port"],
)
MONITOR = closed(
    {"selector": closed({"matchLabels": STRINGS}, []), "endpoints": {"type": "array", "items": ENDPOINT}},
    ["selector", "endpoints"],
)
# Kinds that Kubernetes does not know by itself: what of their definitions the chart uses.
OTHERS = {
    ("snapshot.storage.k8s.io/v1", "VolumeSnapshotClass"): CLASS,
    ("groupsnapshot.storage.k8s.io/v1beta1", "VolumeGroupSnapshotClass"): CLASS,
    ("monitoring.coreos.com/v1", "ServiceMonitor"): resource({"spec": MONITOR}, ["spec"]),
}


class UniqueKeys(yaml.SafeLoader):
    """YAML whose mappings name a key once: of two, the first would be lost without a word."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key) for key, _ in node.value]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.YAMLError(f"{node.start_mark}: {', '.join(twice)} given twice")
        return super().construct_mapping(node, deep)


def complaint(thing, version):
    """What is wrong with an object in a version of Kubernetes, or None."""
    other = OTHERS.get((thing["apiVersion"], thing["kind"]))
    try:
        if other is not None:
            jsonschema.validate(thing, other)
        else:
            kubernetes_validate.validate(thing, version, strict=True)
    except jsonschema.ValidationError as error:
        return f"{'.'.join(str(part) for part in error.absolute_path)}: {error.message}"
    except utils.SchemaNotFoundError as error:
        return error.message
    return None


def main():
    objects, complaints = {}, []
    for argument in sys.argv[1:]:
        path, versions = argument.rsplit(":", 1)
        try:
            with open(path, encoding="utf-8") as file:
                found = [thing for thing in yaml.load_all(file, UniqueKeys) if thing]
        except yaml.YAMLError as error:
            complaints.append(f"{path}: {error}")
            continue
        objects[path] = found
        for version in versions.split(","):
            for thing in found:
                wrong = complaint(thing, version)
                if wrong:
                    complaints.append(f"{version}: {thing['kind']} {thing['metadata']['name']}: {wrong}")
    json.dump({"objects": objects, "complaints": complaints}, sys.stdout)


main()
