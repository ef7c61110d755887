//! Reads YAML files of custom resources; errors say file, document, field and what is allowed.

use anyhow::{Context, Result, bail};
use base64::Engine;
use cairn_crd::{Cluster, Keyspace, SparePool};
use cairn_topology::Resources;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_yaml::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// The most documents that are read from all files.
const DOCUMENTS_MAX: usize = 1000;

/// The texts of `files`, for [`parse`].
pub fn read(files: &[PathBuf]) -> Result<Vec<(PathBuf, String)>> {
    let mut texts = Vec::new();
    for file in files {
        let size = std::fs::metadata(file).with_context(|| format!("cannot read {file:?}"))?.len();
        if size > FILE_BYTES_MAX {
            bail!(
                "{file:?} has {size} bytes, more than {FILE_BYTES_MAX}: it is no set of resources"
            );
        }
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {file:?}"))?;
        texts.push((file.clone(), text));
    }
    Ok(texts)
}

/// All resources of the texts, each valid by itself and all together.
pub fn parse(texts: &[(PathBuf, String)]) -> Result<Resources> {
    let mut found = Found::default();
    for (file, text) in texts {
        for (at, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
            let place = Place { file, document: at + 1 };
            if found.documents == DOCUMENTS_MAX {
                bail!("{place}: there are more than {DOCUMENTS_MAX} documents");
            }
            found.documents += 1;
            let value = Value::deserialize(document)
                .map_err(|error| anyhow::anyhow!("{place}: this is no YAML: {error}"))?;
            if !value.is_null() {
                found.add(&place, value)?;
            }
        }
    }
    found.resources()
}

/// Where a document is.
struct Place<'a> {
    file: &'a Path,
    document: usize,
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, document {}", self.file.display(), self.document)
    }
}

#[derive(Default)]
struct Found {
    documents: usize,
    cluster: Option<(Cluster, String)>,
    keyspaces: Vec<Keyspace>,
    pools: Vec<SparePool>,
    secrets: BTreeMap<(String, String), String>,
    /// Where each `Kind/name` was.
    places: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Secret {
    metadata: SecretName,
    #[serde(default)]
    string_data: BTreeMap<String, String>,
    #[serde(default)]
    data: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct SecretName {
    name: String,
}

const KINDS: &str = "Cluster, Keyspace and SparePool (apiVersion: cairn.dev/v1alpha1), \
                     and Secret (apiVersion: v1)";

impl Found {
    fn add(&mut self, place: &Place<'_>, value: Value) -> Result<()> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        let (version, kind) = (text("apiVersion"), text("kind"));
        match (version.as_str(), kind.as_str()) {
            ("cairn.dev/v1alpha1", "Cluster") => {
                let cluster: Cluster = typed(place, value)?;
                self.note(place, "Cluster", cluster.metadata.name.as_deref());
                if let Some((_, earlier)) = &self.cluster {
                    bail!(
                        "{place}: a second Cluster; there is one in {earlier}, and one is allowed"
                    );
                }
                self.cluster = Some((cluster, place.to_string()));
            }
            ("cairn.dev/v1alpha1", "Keyspace") => {
                let keyspace: Keyspace = typed(place, value)?;
                self.note(place, "Keyspace", keyspace.metadata.name.as_deref());
                self.keyspaces.push(keyspace);
            }
            ("cairn.dev/v1alpha1", "SparePool") => {
                let pool: SparePool = typed(place, value)?;
                self.note(place, "SparePool", pool.metadata.name.as_deref());
                self.pools.push(pool);
            }
            ("cairn.dev/v1alpha1", "Group") => {
                bail!("{place}: kind: a Group is made by its Keyspace; leave it out");
            }
            ("cairn.dev/v1alpha1", "Backup" | "Restore") => bail!(
                "{place}: kind: a {kind} is for Kubernetes; here `cairn backup` and `cairn \
                 restore` do it: leave it out"
            ),
            ("v1", "Secret") => self.add_secret(place, typed(place, value)?)?,
            ("", _) => bail!("{place}: apiVersion: is missing; allowed are {KINDS}"),
            (_, "") => bail!("{place}: kind: is missing; allowed are {KINDS}"),
            _ => bail!("{place}: kind: {version} {kind} is not known; allowed are {KINDS}"),
        }
        Ok(())
    }

    fn note(&mut self, place: &Place<'_>, kind: &str, name: Option<&str>) {
        self.places.insert(format!("{kind}/{}", name.unwrap_or_default()), place.to_string());
    }

    fn add_secret(&mut self, place: &Place<'_>, secret: Secret) -> Result<()> {
        let name = secret.metadata.name;
        for (key, encoded) in secret.data {
            let bytes = base64::engine::general_purpose::STANDARD.decode(encoded.trim());
            let plain = bytes.ok().and_then(|b| String::from_utf8(b).ok());
            let Some(plain) = plain else {
                bail!("{place}: data.{key}: must be base64 of text; or write it under stringData");
            };
            self.secrets.insert((name.clone(), key), plain);
        }
        for (key, plain) in secret.string_data {
            self.secrets.insert((name.clone(), key), plain);
        }
        Ok(())
    }

    fn resources(self) -> Result<Resources> {
        let Some((cluster, _)) = self.cluster else {
            bail!("there is no Cluster in these files; write one:\n{LEAST}");
        };
        let Self { keyspaces, pools, secrets, places, .. } = self;
        let resources = Resources { cluster, keyspaces, pools, secrets };
        if let Err(faults) = cairn_topology::check(&resources) {
            let lines = faults.0.iter().map(|fault| match places.get(&fault.resource) {
                Some(place) => format!("{place}, {fault}"),
                None => fault.to_string(),
            });
            bail!("{}", lines.collect::<Vec<_>>().join("\n"));
        }
        let asks =
            resources.cluster.spec.tls.clients.is_some().then_some("Cluster spec.tls.clients");
        let keyspace = resources.keyspaces.iter().any(|keyspace| keyspace.spec.tls.is_some());
        if let Some(field) = asks.or(keyspace.then_some("Keyspace spec.tls")) {
            // Plain text where TLS was asked for would be a silent lie.
            bail!("{field}: local processes speak plain text: leave it out, or use Kubernetes");
        }
        Ok(resources)
    }
}

const LEAST: &str = "  apiVersion: cairn.dev/v1alpha1\n  kind: Cluster\n  \
                     metadata: {name: demo}\n  spec: {}";

fn typed<T: DeserializeOwned>(place: &Place<'_>, value: Value) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { String::new() } else { format!("{path}: ") };
        anyhow::anyhow!("{place}: {field}{}", error.into_inner())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "apiVersion: cairn.dev/v1alpha1\nkind: Cluster\n\
                           metadata: {name: demo}\nspec: {}\n";

    fn parsed(text: &str) -> Result<Resources> {
        parse(&[("a.yaml".into(), text.to_owned())])
    }

    fn keyspace(spec: &str) -> String {
        format!(
            "{CLUSTER}---\napiVersion: cairn.dev/v1alpha1\nkind: Keyspace\n\
             metadata: {{name: tweets}}\nspec: {spec}\n"
        )
    }

    #[test]
    fn one_file_may_hold_all_resources() {
        let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\n\
                      stringData: {a: x}\ndata: {b: eA==}\n---\n";
        let text = keyspace("{cluster: demo, auth: {passwordSecretRef: {name: s, key: b}}}");
        let resources = parsed(&(text + secret)).unwrap();
        assert_eq!(resources.keyspaces[0].spec.groups, 1);
        assert_eq!(resources.secrets[&("s".to_owned(), "b".to_owned())], "x");
    }

    /// Bad text, and what the error must say.
    const BAD: &[(&str, &[&str])] = &[
        ("{cluster: demo, groups: many}", &["a.yaml, document 2: spec.groups: ", "many"]),
        ("{cluster: demo, replica: 1}", &["document 2: spec", "`replica`", "`replicas`"]),
        (
            "{cluster: demo, durability: {ack: two}}",
            &["spec.durability.ack", "`async`", "`quorum`"],
        ),
        ("{cluster: demo, durability: {zone: 1}}", &["spec.durability", "`zones`"]),
        ("{cluster: demo, groups: 0}", &["document 2, Keyspace/tweets spec.groups: must be 1 to"]),
        ("{cluster: other}", &["spec.cluster: must be the Cluster's name, demo"]),
        ("{}", &["spec", "missing field `cluster`"]),
        ("{cluster: demo, auth: {passwordSecretRef: {name: s}}}", &["spec.auth.passwordSecretRef"]),
        ("{cluster: demo, tls: {}}", &["Keyspace spec.tls: ", "plain text"]),
        ("{cluster: [demo", &["document 2: this is no YAML", "line"]),
    ];

    #[test]
    fn errors_say_file_document_field_and_what_is_allowed() {
        for (spec, words) in BAD {
            let error = parsed(&keyspace(spec)).unwrap_err().to_string();
            for word in *words {
                assert!(error.contains(word), "{spec}: no {word:?} in: {error}");
            }
        }
    }

    #[test]
    fn kinds_that_do_not_belong_here_are_named() {
        for (text, word) in [
            ("kind: Cluster", "apiVersion: is missing"),
            ("apiVersion: v1", "kind: is missing"),
            ("apiVersion: v1\nkind: Pod", "v1 Pod is not known"),
            ("apiVersion: cairn.dev/v1alpha1\nkind: Group", "made by its Keyspace"),
            ("apiVersion: cairn.dev/v1alpha1\nkind: Backup", "`cairn backup`"),
            ("", "no Cluster"),
        ] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
        let error = parsed(&format!("{CLUSTER}---\n{CLUSTER}")).unwrap_err().to_string();
        assert!(error.contains("a second Cluster; there is one in a.yaml, document 1"), "{error}");
    }
}
