{{/* Labels of everything. Call with (dict "root" $ "component" "control"). */}}
{{- define "plinth.labels" -}}
{{ include "plinth.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{/* Labels by which a component's pods are found; they never change. */}}
{{- define "plinth.selector" -}}
app.kubernetes.io/name: plinth
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "plinth.image" -}}
{{ required "image.repository is missing: build deploy/image/Dockerfile, push it, and say where to" .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "plinth.voter" -}}
{{ printf "plinth-control-%d.plinth-control.%s.svc.%s:10700" (int .ordinal) .root.Release.Namespace .root.Values.clusterDomain }}
{{- end }}

{{/* HOST:PORT of every voter, with commas. */}}
{{- define "plinth.voters" -}}
{{- $root := . -}}
{{- $voters := list -}}
{{- range $ordinal, $id := .Values.control.voterIds -}}
{{- $voters = append $voters (include "plinth.voter" (dict "root" $root "ordinal" $ordinal)) -}}
{{- end -}}
{{ join "," $voters }}
{{- end }}

{{/* What listens on the host's own address. Call with (dict "root" $ "port" 10701). */}}
{{- define "plinth.onHost" -}}
{{ ternary "[$(HOST_IP)]" "$(HOST_IP)" (eq .root.Values.ipFamily "IPv6") }}:{{ .port }}
{{- end }}

{{- define "plinth.onAll" -}}
{{ ternary "[::]" "0.0.0.0" (eq .root.Values.ipFamily "IPv6") }}:{{ .port }}
{{- end }}

{{/* Containers that need nothing of the host. */}}
{{- define "plinth.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities: { drop: [ALL] }
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{/* The zones, or one that has no name. */}}
{{- define "plinth.zones" -}}
{{- if and .Values.zones .Values.zonesFromNodeLabels -}}
{{- fail "zones and zonesFromNodeLabels exclude each other: choose one" -}}
{{- end -}}
{{ .Values.zones | default (list (dict "name" "")) | toJson }}
{{- end }}

{{/* Labels for --label, one KEY=VALUE a line. */}}
{{- define "plinth.zoneLabels" -}}
{{- range $key, $value := .zone.labels }}
{{ $key }}={{ $value }}
{{- end }}
{{- if .root.Values.zonesFromNodeLabels }}
zone=$(ZONE)
region=$(REGION)
{{- end }}
{{- end }}

{{- define "plinth.zoneEnvironment" -}}
{{- if .Values.zonesFromNodeLabels }}
- name: ZONE
  valueFrom: { fieldRef: { fieldPath: "metadata.labels['topology.kubernetes.io/zone']" } }
- name: REGION
  valueFrom: { fieldRef: { fieldPath: "metadata.labels['topology.kubernetes.io/region']" } }
{{- end }}
{{- end }}

{{- define "plinth.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A sidecar's probe: it answers as long as it renews its leadership, or waits for it. */}}
{{- define "plinth.leaderProbe" -}}
livenessProbe:
  httpGet: { path: /healthz/leader-election, port: {{ . }} }
  initialDelaySeconds: 10
  periodSeconds: 20
  timeoutSeconds: 5
  failureThreshold: 3
{{- end }}
