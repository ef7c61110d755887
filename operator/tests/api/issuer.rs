//! Certificates by cert-manager itself: its controller, its definitions, its own authority.

use super::{World, until};
use cairn_crd::Cluster;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{ResourceExt, core::GroupVersionKind, discovery::ApiResource};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::sleep;

/// cert-manager at work in one namespace; ends with its handle.
struct CertManager(Child);

impl Drop for CertManager {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl CertManager {
    /// Installs its kinds and starts it.
    async fn start(world: &World) -> Self {
        let program = std::env::var("CAIRN_CERT_MANAGER").expect("cargo xtask test --api");
        let program = PathBuf::from(program);
        let kinds = program.parent().unwrap().join("crds");
        let api: Api<CustomResourceDefinition> = Api::all(world.client.clone());
        for file in std::fs::read_dir(kinds).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let crd: CustomResourceDefinition = serde_yaml::from_str(&text).unwrap();
            let params = PatchParams::apply("tests").force();
            api.patch(&crd.name_any(), &params, &Patch::Apply(&crd)).await.unwrap();
        }
        let mut command = Command::new(program);
        command.arg("--kubeconfig").arg(std::env::var("CAIRN_KUBE_APISERVER").unwrap());
        command.args(["--namespace", &world.namespace]).stdin(Stdio::null());
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

fn of_cert_manager(world: &World, kind: &str) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("cert-manager.io", "v1", kind));
    Api::namespaced_with(world.client.clone(), &world.namespace, &kind)
}

/// As a user would: an authority that signs itself, and the issuer `ca` that signs with it.
async fn make_issuer(world: &World) {
    let objects = [
        ("Issuer", "self", json!({ "selfSigned": {} })),
        (
            "Certificate",
            "authority",
            json!({
                "isCA": true, "commonName": "an issuer's", "secretName": "authority",
                "privateKey": { "algorithm": "ECDSA", "size": 256 },
                "issuerRef": { "name": "self", "kind": "Issuer" },
            }),
        ),
        ("Issuer", "ca", json!({ "ca": { "secretName": "authority" } })),
    ];
    for (kind, name, spec) in objects {
        let api = of_cert_manager(world, kind);
        let body = json!({
            "apiVersion": "cert-manager.io/v1", "kind": kind,
            "metadata": { "name": name }, "spec": spec,
        });
        let params = PatchParams::apply("tests");
        until("its kinds are served", async || {
            api.patch(name, &params, &Patch::Apply(&body)).await.is_ok()
        })
        .await;
    }
}

/// Has cert-manager issue a certificate anew, in the way `cmctl renew` does.
async fn renew(world: &World, certificate: &str) {
    let api = of_cert_manager(world, "Certificate");
    let mut found = api.get(certificate).await.unwrap();
    let generation = found.metadata.generation;
    let conditions = found.data["status"]["conditions"].as_array_mut().unwrap();
    conditions.push(json!({
        "type": "Issuing", "status": "True", "reason": "ManuallyTriggered",
        "message": "asked for", "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": generation,
    }));
    api.replace_status(certificate, &PostParams::default(), &found).await.unwrap();
}

type Data = BTreeMap<String, ByteString>;

/// What OpenSSL makes of a certificate: signed by this authority, for the names that were asked.
fn is_good(data: &Data, asked: &Value) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["ca.crt", "tls.crt"] {
        std::fs::write(at(name), &data[name].0).unwrap();
    }
    let mut verify = Command::new("openssl");
    verify.arg("verify").arg("-CAfile").arg(at("ca.crt")).arg(at("tls.crt"));
    let mut show = Command::new("openssl");
    show.args(["x509", "-noout", "-ext", "subjectAltName", "-in"]).arg(at("tls.crt"));
    let shown = String::from_utf8(show.output().unwrap().stdout).unwrap();
    let names: Vec<String> = serde_json::from_value(asked.clone()).unwrap();
    let named = names.iter().all(|name| shown.contains(&format!("DNS:{name}")));
    named && !names.is_empty() && verify.output().unwrap().status.success()
}

#[tokio::test]
#[ignore = "needs an API server: cargo xtask test --api"]
async fn cert_manager_is_asked_and_what_it_makes_is_used_and_left_alone() {
    let world = World::new("op-issuer").await;
    let issuer = json!({ "globalReplicas": 1, "tls": { "issuerRef": { "name": "ca" } } });
    let cluster = Cluster::new("demo", serde_json::from_value(issuer).unwrap());
    world.api::<Cluster>().create(&PostParams::default(), &cluster).await.unwrap();
    let operator = world.operate();
    let pending = Some(("True".to_owned(), "CertificatesPending".to_owned()));
    until("it says that it waits", async || world.condition("Progressing").await == pending).await;
    let _cert_manager = CertManager::start(&world).await;
    make_issuer(&world).await;
    let secrets = world.api::<Secret>();
    let data = async |name: &str| -> Data {
        let secret = secrets.get_opt(name).await.unwrap();
        secret.and_then(|secret| secret.data).unwrap_or_default()
    };
    until("nodes trust the issuer", async || {
        let map = world.api::<ConfigMap>().get_opt("demo-ca").await.unwrap();
        let authority = data("authority").await;
        let trusted = map.and_then(|map| map.data?.remove("ca.crt"));
        trusted.zip(authority.get("tls.crt")).is_some_and(|(ours, its)| ours.as_bytes() == its.0)
    })
    .await;
    until("it waits no longer", async || world.condition("Progressing").await != pending).await;
    let written = operator.at_rest().await;
    let cluster = async || world.api::<Cluster>().get("demo").await.unwrap();
    let uid = cluster().await.uid().unwrap();
    let shown: Vec<String> =
        cluster().await.status.unwrap().certificates.into_iter().map(|c| c.secret).collect();
    assert_eq!(shown, ["demo-acceptor-tls", "demo-global-tls"]);
    let orders = of_cert_manager(&world, "Certificate").list(&ListParams::default()).await.unwrap();
    for name in &shown {
        let order = orders.iter().find(|order| order.name_any() == *name).unwrap();
        assert!(is_good(&data(name).await, &order.data["spec"]["dnsNames"]), "{name}");
        let secret = secrets.get(name).await.unwrap();
        assert_eq!(secret.owner_references()[0].uid, uid, "goes with it");
    }
    assert!(secrets.get_opt("demo-ca").await.unwrap().is_none(), "an authority of its own");
    sleep(Duration::from_secs(6)).await;
    assert_eq!(operator.metrics.writes(), written);

    let digest = async || {
        let shown = cluster().await.status.unwrap().certificates;
        shown.into_iter().find(|c| c.secret == "demo-global-tls").unwrap().digest
    };
    let (before, shown) = (data("demo-global-tls").await, digest().await);
    renew(&world, "demo-global-tls").await;
    until("cert-manager has made another", async || {
        let now = data("demo-global-tls").await;
        now["tls.crt"] != before["tls.crt"] && now["tls.key"] != before["tls.key"]
    })
    .await;
    until("the status shows it", async || digest().await != shown).await;
    let secret = secrets.get("demo-global-tls").await.unwrap();
    assert_eq!(secret.owner_references()[0].uid, uid, "still goes with it");
    assert_ne!(data("demo-global-tls").await["tls.crt"], before["tls.crt"], "it was put back");
}
