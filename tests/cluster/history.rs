//! What was asked for and must be: volumes, their sizes, who has them, and how often that changed.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::cluster::Shell;
use tests::random::Random;

const MIB: u64 = 1 << 20;

/// A volume as it must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    pub size_bytes: u64,
    /// Raised by every attach and every detach that ended one: a change made twice shows here.
    pub generation: u64,
    pub holder: Option<Holder>,
}

/// Who has it, and how it is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    pub client: String,
    pub uris: Vec<String>,
}

/// One user of the cluster, with volumes of its own.
#[derive(Debug)]
pub struct User {
    shell: Shell,
    name: String,
    random: Random,
    made: u32,
    pub volumes: BTreeMap<String, Expected>,
    /// URIs of attachments that ended.
    pub ended: Vec<String>,
}

impl User {
    pub fn new(shell: Shell, number: u64, seed: u64) -> Self {
        let random = Random::seeded(seed.wrapping_mul(31).wrapping_add(number));
        let (volumes, ended) = (BTreeMap::new(), Vec::new());
        Self { shell, name: format!("user{number}"), random, made: 0, volumes, ended }
    }

    /// Asks for something, and waits until it is done.
    pub fn act(&mut self) {
        let chosen = self.random.below(10);
        match self.some_volume() {
            None => self.create(),
            Some(_) if chosen < 3 => self.create(),
            Some(volume) if chosen < 5 => self.resize(&volume),
            Some(volume) if chosen < 9 => self.attach_or_detach(&volume),
            Some(volume) => self.delete(&volume),
        }
    }

    fn some_volume(&mut self) -> Option<String> {
        let count = self.volumes.len() as u64;
        let index = (count > 0).then(|| self.random.below(count))?;
        self.volumes.keys().nth(usize::try_from(index).expect("few volumes")).cloned()
    }

    fn create(&mut self) {
        self.made += 1;
        let volume = format!("{}-{}", self.name, self.made);
        let size_bytes = (1 + self.random.below(64)) * MIB;
        self.shell.run(&["volume", "create", &volume, "--size", &size_bytes.to_string()]);
        self.volumes.insert(volume, Expected { size_bytes, generation: 0, holder: None });
    }

    fn resize(&mut self, volume: &str) {
        let expected = self.volumes.get_mut(volume).expect("one of ours");
        expected.size_bytes += self.random.below(8) * MIB;
        self.shell.run(&["volume", "resize", volume, &expected.size_bytes.to_string()]);
    }

    fn attach_or_detach(&mut self, volume: &str) {
        let expected = self.volumes.get_mut(volume).expect("one of ours");
        expected.generation += 1;
        match expected.holder.take() {
            Some(holder) => {
                self.shell.run(&["volume", "detach", volume, "--client", &holder.client]);
                self.ended.extend(holder.uris);
            }
            None => {
                let client = format!("{}-{}", self.name, expected.generation);
                let uris = self.shell.attach(volume, &client);
                expected.holder = Some(Holder { client, uris });
            }
        }
    }

    fn delete(&mut self, volume: &str) {
        let expected = self.volumes.remove(volume).expect("one of ours");
        self.shell.run(&["volume", "delete", volume, "--force"]);
        self.ended.extend(expected.holder.into_iter().flat_map(|holder| holder.uris));
    }
}

/// The cluster's volumes are exactly those that were asked for.
pub fn compare(listed: &Value, users: &[User]) {
    let listed = listed.as_array().expect("a list");
    let expected: BTreeMap<_, _> = users.iter().flat_map(|user| &user.volumes).collect();
    let names: Vec<_> = listed.iter().map(|volume| volume["name"].as_str().unwrap()).collect();
    assert!(names.iter().eq(expected.keys()), "{names:?} are there, and {:?} were asked for", expected.keys());
    for volume in listed {
        let expected = expected[&volume["name"].as_str().unwrap().to_owned()];
        assert_eq!(volume["phase"], "ready", "{volume}");
        assert_eq!(volume["size_bytes"], expected.size_bytes, "{volume}");
        assert_eq!(volume["generation"], expected.generation, "each change is made once: {volume}");
        let holders: Vec<_> = volume["attachments"].as_array().unwrap().iter().map(|held| &held["client"]).collect();
        let expected: Vec<_> = expected.holder.iter().map(|holder| &holder.client).collect();
        assert!(holders.iter().eq(&expected), "{volume} is to be attached to {expected:?}");
    }
}
