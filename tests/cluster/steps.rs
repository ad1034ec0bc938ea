//! Random steps against an oracle: whatever is done to volumes and snapshots, and whichever node dies in between, a cluster
//! of three real nodes holds exactly what the commands say, and nothing when all is deleted.
//!
//! `make steps STEPS=1000 SEED=1`; the same seed takes the same steps.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tests::cluster::{Cluster, parts};
use tests::nbd::{Client, Kind};
use tests::random::Random;
use tests::wait;

use crate::expected::{BLOCK, Expected, Image, PIECE, Volume, content};

const VOLUMES_MAX: usize = 5;
const SNAPSHOTS_MAX: usize = 8;
const SIZE_MAX: u64 = 8 * PIECE;
/// Blocks of one request.
const BLOCKS_MAX: u64 = 64;
/// Everything is compared after so many steps.
const COMPARED_EVERY: u64 = 50;
const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// Longest time for all replicas to be in sync again.
const WHOLE_MAX: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Step {
    Create,
    Delete,
    Resize,
    Replicas,
    Snapshot,
    Group,
    Forget,
    Restore,
    Clone,
    Write,
    Clear,
    Read,
    Kill,
}

/// How often each is taken.
const STEPS: [(Step, u64); 13] = [
    (Step::Create, 6),
    (Step::Delete, 4),
    (Step::Resize, 6),
    (Step::Replicas, 4),
    (Step::Snapshot, 8),
    (Step::Group, 3),
    (Step::Forget, 7),
    (Step::Restore, 3),
    (Step::Clone, 3),
    (Step::Write, 32),
    (Step::Clear, 10),
    (Step::Read, 12),
    (Step::Kill, 2),
];

struct World {
    cluster: Cluster,
    expected: Expected,
    random: Random,
    taken: BTreeSet<Step>,
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn a_cluster_holds_what_random_steps_say_and_nothing_when_all_is_deleted() {
    let (steps, seed) = (number("STEPS", 40), number("SEED", 1));
    println!("again: make steps STEPS={steps} SEED={seed}");
    let cluster = Cluster::on_loopback();
    wait::until("all nodes to be heard", || (cluster.status()?["nodes_up"] == 3).then_some(()));
    let mut world =
        World { cluster, expected: Expected::default(), random: Random::seeded(seed), taken: BTreeSet::new() };
    let begin = Instant::now();
    for step in 1..=steps {
        world.step(step);
        if step % COMPARED_EVERY == 0 {
            world.compare_all();
            println!("{step} steps after {:.0?}", begin.elapsed());
        }
    }
    world.compare_all();
    world.delete_all();
    println!("{steps} steps, {} kinds, in {:.0?}", world.taken.len(), begin.elapsed());
    assert!(steps < 500 || world.taken.len() == STEPS.len(), "{:?}", world.taken);
}

impl World {
    fn step(&mut self, at: u64) {
        let all: u64 = STEPS.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.random.below(all);
        let step = STEPS.iter().find_map(|(step, weight)| {
            let is_it = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            is_it.then_some(*step)
        });
        let step = step.expect("it lies in the sum");
        let step = if self.expected.volumes.is_empty() { Step::Create } else { step };
        if let Some(what) = self.take(step) {
            println!("{at}: {what}");
            self.taken.insert(step);
        }
    }

    /// Takes a step, if it can be taken now; says what it was.
    fn take(&mut self, step: Step) -> Option<String> {
        match step {
            Step::Create => self.create(),
            Step::Delete => self.delete(),
            Step::Resize => self.resize(),
            Step::Replicas => self.change_replicas(),
            Step::Snapshot => self.snapshot(),
            Step::Group => self.group(),
            Step::Forget => self.forget(),
            Step::Restore => self.restore(),
            Step::Clone => self.clone_volume(),
            Step::Write => self.write(),
            Step::Clear => self.clear(),
            Step::Read => self.read(),
            Step::Kill => self.kill(),
        }
    }

    fn run(&self, line: &str) {
        self.cluster.run(&line.split(' ').collect::<Vec<_>>());
    }

    fn has_room(&self) -> bool {
        self.expected.volumes.len() < VOLUMES_MAX
    }

    fn any_replicas(&mut self) -> u64 {
        self.random.pick(&[1, 2, 2, 3, 3, 3])
    }

    fn create(&mut self) -> Option<String> {
        let (size_bytes, replicas) = ((1 + self.random.below(3)) * PIECE, self.any_replicas());
        let name = self.has_room().then(|| format!("v{}", self.expected.number()))?;
        self.run(&format!("volume create {name} --size {size_bytes} --replicas {replicas}"));
        self.expected.volumes.insert(name.clone(), Volume { image: Image::of_zeroes(size_bytes), replicas });
        Some(format!("create {name}, {size_bytes} bytes, {replicas} replicas"))
    }

    fn delete(&mut self) -> Option<String> {
        let name = self.expected.any_volume(&mut self.random)?;
        self.run(&format!("volume delete {name} --force"));
        self.expected.volumes.remove(&name);
        Some(format!("delete {name}"))
    }

    fn resize(&mut self) -> Option<String> {
        let name = self.expected.any_volume(&mut self.random)?;
        let more = (1 + self.random.below(1024)) * BLOCK;
        let image = self.expected.image(&name);
        let size_bytes = image.size_bytes + more;
        if size_bytes > SIZE_MAX {
            return None;
        }
        image.size_bytes = size_bytes;
        self.run(&format!("volume resize {name} {size_bytes}"));
        Some(format!("resize {name} to {size_bytes}"))
    }

    fn change_replicas(&mut self) -> Option<String> {
        let name = self.expected.any_volume(&mut self.random)?;
        let replicas = self.any_replicas();
        self.run(&format!("volume modify {name} --replicas {replicas}"));
        self.expected.volumes.get_mut(&name)?.replicas = replicas;
        Some(format!("{replicas} replicas of {name}"))
    }

    fn snapshot(&mut self) -> Option<String> {
        let volume = self.expected.any_volume(&mut self.random)?;
        if self.expected.snapshots.len() >= SNAPSHOTS_MAX {
            return None;
        }
        let name = format!("s{}", self.expected.number());
        self.run(&format!("snapshot create {name} --volume {volume}"));
        self.expected.cut(&volume, &name, None);
        Some(format!("snapshot {name} of {volume}"))
    }

    fn group(&mut self) -> Option<String> {
        let volumes: Vec<String> = self.expected.volumes.keys().take(2).cloned().collect();
        if volumes.len() < 2 || self.expected.snapshots.len() + volumes.len() > SNAPSHOTS_MAX {
            return None;
        }
        let name = format!("g{}", self.expected.number());
        self.run(&format!("snapshot group create {name} {}", volumes.join(" ")));
        for volume in &volumes {
            self.expected.cut(volume, &format!("{name}-{volume}"), Some(&name));
        }
        Some(format!("group {name} of {volumes:?}"))
    }

    fn forget(&mut self) -> Option<String> {
        let name = self.expected.any_snapshot(&mut self.random)?;
        Some(format!("delete snapshot {}", self.forget_one(&name)))
    }

    /// Deletes a snapshot, with the others of its group; answers what was deleted.
    fn forget_one(&mut self, name: &str) -> String {
        let group = self.expected.snapshots[name].group.clone();
        let Some(group) = group else {
            self.run(&format!("snapshot delete {name}"));
            self.expected.snapshots.remove(name);
            return name.to_owned();
        };
        self.run(&format!("snapshot group delete {group}"));
        self.expected.snapshots.retain(|_, snapshot| snapshot.group.as_ref() != Some(&group));
        group
    }

    fn restore(&mut self) -> Option<String> {
        let snapshot = self.expected.any_snapshot(&mut self.random).filter(|_| self.has_room())?;
        let name = format!("v{}", self.expected.number());
        let replicas = self.any_replicas();
        self.run(&format!("volume create {name} --from-snapshot {snapshot} --replicas {replicas}"));
        let image = self.expected.snapshots[&snapshot].image.clone();
        self.expected.volumes.insert(name.clone(), Volume { image, replicas });
        self.compare(&name);
        Some(format!("create {name} from {snapshot}, {replicas} replicas"))
    }

    fn clone_volume(&mut self) -> Option<String> {
        let source = self.expected.any_volume(&mut self.random).filter(|_| self.has_room())?;
        let name = format!("v{}", self.expected.number());
        let replicas = self.any_replicas();
        self.run(&format!("volume clone {source} {name} --replicas {replicas}"));
        let image = self.expected.volumes[&source].image.clone();
        self.expected.volumes.insert(name.clone(), Volume { image, replicas });
        Some(format!("clone {name} of {source}, {replicas} replicas"))
    }

    fn write(&mut self) -> Option<String> {
        let name = self.expected.any_volume(&mut self.random)?;
        self.write_to(&name);
        Some(format!("write to {name}"))
    }

    fn write_to(&mut self, name: &str) {
        let image = &self.expected.volumes[name].image;
        let ranges: Vec<_> =
            (0..1 + self.random.below(6)).map(|_| image.any_range(&mut self.random, BLOCKS_MAX)).collect();
        let flushes = self.random.one_in(2);
        let number = self.expected.number();
        self.with_client(name, |client| {
            for (first, count) in &ranges {
                let bytes: Vec<u8> = (*first..first + count).flat_map(|block| content(block, Some(number))).collect();
                client.write(first * BLOCK, &bytes, 0)?;
            }
            if flushes { client.flush() } else { Ok(()) }
        });
        let image = self.expected.image(name);
        ranges.iter().for_each(|(first, count)| image.write(*first, *count, number));
    }

    fn clear(&mut self) -> Option<String> {
        let name = self.expected.any_volume(&mut self.random)?;
        let (first, count) = self.expected.volumes[&name].image.any_range(&mut self.random, 8 * BLOCKS_MAX);
        let kind = self.random.pick(&[Kind::Trim, Kind::Zeroes]);
        let len_bytes = u32::try_from(count * BLOCK).expect("small");
        self.with_client(&name, |client| client.clear(kind, first * BLOCK, len_bytes));
        self.expected.image(&name).clear(first, count);
        Some(format!("{kind:?} in {name}"))
    }

    fn read(&mut self) -> Option<String> {
        let name = self.expected.any_volume(&mut self.random)?;
        self.compare(&name);
        Some(format!("read {name}"))
    }

    /// A node dies, what others have goes on, and it comes back.
    fn kill(&mut self) -> Option<String> {
        let node = self.random.pick(&NODES);
        let redundant = |volume: &Volume| volume.replicas > 1;
        let names: Vec<String> = self
            .expected
            .volumes
            .iter()
            .filter(|(_, volume)| redundant(volume))
            .map(|(name, _)| name.clone())
            .collect();
        self.whole();
        self.cluster.kill_node(node);
        for name in &names {
            self.write_to(name);
            self.compare(name);
        }
        self.cluster.start_node(node);
        self.whole();
        names.iter().for_each(|name| self.compare(name));
        Some(format!("kill {node} with {names:?} in use"))
    }

    /// Does something with a volume, again until it succeeds: all of it may be done twice.
    fn with_client<T>(&self, name: &str, mut deed: impl FnMut(&mut Client<TcpStream>) -> Result<T, u32>) -> T {
        let size_bytes = self.expected.volumes[name].image.size_bytes;
        let uris = self.cluster.shell().attach(name, "steps");
        wait::until("a volume to be served", || {
            uris.iter().find_map(|uri| {
                let (address, export) = parts(uri);
                let stream = TcpStream::connect(address).ok()?;
                tests::nbd::bound(&stream, Duration::from_secs(10));
                let mut client = Client::try_open(stream, export).ok()?.ok()?;
                assert_eq!(client.size_bytes(), size_bytes, "the size of {name}");
                deed(&mut client).ok()
            })
        })
    }

    /// All of a volume is what it must be.
    fn compare(&self, name: &str) {
        let image = &self.expected.volumes[name].image;
        self.with_client(name, |client| {
            for first in (0..image.size_bytes / BLOCK).step_by(256) {
                let count = (image.size_bytes / BLOCK - first).min(256);
                let bytes = client.read(first * BLOCK, u32::try_from(count * BLOCK).expect("1 MiB"))?;
                image.check(first, &bytes).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
            }
            Ok(())
        });
    }

    /// Every volume has as many replicas in sync as it should.
    fn whole(&self) {
        let shell = self.cluster.shell();
        for (name, volume) in &self.expected.volumes {
            let is_whole = || {
                let view = shell.json(&["volume", "show", name]);
                let in_sync = |replica: &serde_json::Value| replica["in_sync"] == true || replica["state"] == "present";
                let replicas = view["replicas"].as_array()?.iter().filter(|one| in_sync(one)).count() as u64;
                (view["phase"] == "ready" && replicas == volume.replicas).then_some(())
            };
            let last = || shell.json(&["volume", "show", name]);
            wait::within(WHOLE_MAX, is_whole).unwrap_or_else(|| panic!("{name} is not whole: {}", last()));
        }
    }

    /// Contents, sizes, lists; and the replicas of each volume with its snapshots.
    fn compare_all(&mut self) {
        self.whole();
        self.compare_lists();
        let names: Vec<String> = self.expected.volumes.keys().cloned().collect();
        for name in names {
            self.compare(&name);
            if self.expected.volumes[&name].replicas > 1 {
                let verified = || {
                    let output = self.cluster.shell().plinth(&["volume", "verify", &name, "--data", "--timeout", "60"]);
                    output.status.success().then_some(())
                };
                wait::until("replicas to be compared and equal", verified);
            }
        }
    }

    fn compare_lists(&self) {
        let listed = |what: &str| {
            let all = self.cluster.json(&[what, "list"]);
            let row = |one: &serde_json::Value| {
                (one["name"].as_str().expect("a name").to_owned(), one["size_bytes"].as_u64().expect("a size"))
            };
            all.as_array().expect("a list").iter().map(row).collect::<BTreeSet<_>>()
        };
        let volumes = self.expected.volumes.iter().map(|(name, volume)| (name.clone(), volume.image.size_bytes));
        assert_eq!(listed("volume"), volumes.collect(), "volumes");
        let snapshots = self.expected.snapshots.iter().map(|(name, cut)| (name.clone(), cut.image.size_bytes));
        assert_eq!(listed("snapshot"), snapshots.collect(), "snapshots");
    }

    fn delete_all(&mut self) {
        for name in std::mem::take(&mut self.expected.volumes).into_keys() {
            self.run(&format!("volume delete {name} --force"));
        }
        while let Some(name) = self.expected.snapshots.keys().next().cloned() {
            self.forget_one(&name);
        }
        self.cluster.settle();
        self.compare_lists();
        self.cluster.until_empty();
    }
}
