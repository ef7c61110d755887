//! An API server alone: etcd and kube-apiserver on loopback, nothing that runs a pod.
//!
//! Objects are kept and judged as in any cluster, but no controller acts on them. Everything is in
//! one folder that is emptied at the start; dropping the handle ends both processes.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cairn_harness::clock::{wait, wait_until};

use super::programs;
use crate::product;
use crate::run::{check, command, read, which};
use crate::setup;

/// How long both may take to start; a cold page cache makes this slow.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A running API server.
pub struct ApiServer {
    kubeconfig: PathBuf,
    folder: PathBuf,
    started: Duration,
    // Dropped in this order: the API server before what it keeps its objects in.
    _server: Process,
    _etcd: Process,
}

/// A process that ends with its handle.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left to do about it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl ApiServer {
    /// Builds what is missing and starts both.
    ///
    /// # Errors
    /// If a program cannot be built, or does not get ready; the message has its last words.
    pub fn start() -> Result<Self> {
        programs::need(&programs::FOR_API)?;
        setup::etcd()?;
        let folder = product::target_folder().join("api-server");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {folder:?}"))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {folder:?}"))?;
        let began = Instant::now();
        let [clients, peers, port] = free_ports()?;
        let mut etcd = Process(start_etcd(&folder, clients, peers)?);
        let mut server = Process(start_server(&folder, clients, port)?);
        let kubeconfig = folder.join("kubeconfig");
        let ready = wait_until(START_LIMIT, Duration::from_millis(200), || {
            let both_run = running(&mut etcd.0) && running(&mut server.0);
            !both_run || is_ready(&kubeconfig, &folder, port)
        });
        for (process, name) in [(&mut etcd, "etcd"), (&mut server, "kube-apiserver")] {
            if !ready || !running(&mut process.0) {
                bail!("{name} did not get ready:\n{}", last_words(&folder, name));
            }
        }
        let started = began.elapsed();
        Ok(Self { kubeconfig, folder, started, _server: server, _etcd: etcd })
    }

    /// A kubeconfig whose user may do anything.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Where its files and logs are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How long it took to get ready.
    pub fn started(&self) -> Duration {
        self.started
    }

    /// Stays until one of the two ends.
    pub fn stay(mut self) {
        while running(&mut self._server.0) && running(&mut self._etcd.0) {
            wait(Duration::from_millis(500));
        }
    }
}

fn start_etcd(folder: &Path, clients: u16, peers: u16) -> Result<Child> {
    let mut etcd = Command::new(setup::etcd_folder()?.join("etcd"));
    let at = |port: u16| format!("http://127.0.0.1:{port}");
    etcd.arg("--data-dir").arg(folder.join("etcd")).arg("--unsafe-no-fsync");
    etcd.args(["--name", "one", "--initial-cluster", &format!("one={}", at(peers))]);
    etcd.args(["--listen-client-urls", &at(clients), "--advertise-client-urls", &at(clients)]);
    etcd.args(["--listen-peer-urls", &at(peers), "--initial-advertise-peer-urls", &at(peers)]);
    spawn(etcd, folder, "etcd")
}

fn start_server(folder: &Path, etcd: u16, port: u16) -> Result<Child> {
    let key = folder.join("accounts.key");
    check(command("openssl", ["genrsa", "-out"]).arg(&key).arg("2048").stderr(Stdio::null()))?;
    let tokens = folder.join("tokens.csv");
    fs::write(&tokens, format!("{},admin,admin,system:masters\n", token(folder)?))?;
    let mut server = Command::new(programs::path("kube-apiserver")?);
    server.args(["--bind-address", "127.0.0.1", "--secure-port", &port.to_string()]);
    server.args(["--etcd-servers", &format!("http://127.0.0.1:{etcd}")]);
    server.args(["--service-cluster-ip-range", "10.0.0.0/16", "--authorization-mode", "RBAC"]);
    // No controller makes service accounts here, so pods must do without.
    server.args(["--disable-admission-plugins", "ServiceAccount", "--allow-privileged=true"]);
    server.args(["--service-account-issuer", "https://kubernetes.default.svc"]);
    server.arg("--service-account-key-file").arg(&key);
    server.arg("--service-account-signing-key-file").arg(&key);
    server.arg("--token-auth-file").arg(&tokens);
    server.arg("--cert-dir").arg(folder.join("certificates"));
    spawn(server, folder, "kube-apiserver")
}

fn spawn(mut program: Command, folder: &Path, name: &str) -> Result<Child> {
    let log = fs::File::create(folder.join(format!("{name}.log")))?;
    if which("setpriv").is_some() {
        // However this process ends, the servers end with it.
        let mut wrapped = Command::new("setpriv");
        wrapped.args(["--pdeathsig", "KILL"]).arg(program.get_program()).args(program.get_args());
        program = wrapped;
    }
    program.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    program.spawn().with_context(|| format!("cannot start {name}"))
}

/// A token that only this folder knows.
fn token(folder: &Path) -> Result<String> {
    let file = folder.join("token");
    if !file.exists() {
        let text = read(&mut command("openssl", ["rand", "-hex", "16"]))?;
        fs::write(&file, text.trim())?;
    }
    Ok(fs::read_to_string(file)?)
}

fn running(child: &mut Child) -> bool {
    matches!(child.try_wait(), Ok(None))
}

fn is_ready(kubeconfig: &Path, folder: &Path, port: u16) -> bool {
    if !kubeconfig.exists() && write_kubeconfig(kubeconfig, folder, port).is_err() {
        return false;
    }
    let Ok(kubectl) = programs::path("kubectl") else { return false };
    let mut get = Command::new(kubectl);
    get.arg("--kubeconfig").arg(kubeconfig).args(["get", "--raw", "/readyz"]);
    // The namespace comes a moment after the server says that it is ready.
    let mut namespace = Command::new(get.get_program());
    namespace.arg("--kubeconfig").arg(kubeconfig).args(["get", "namespace", "default"]);
    let well = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    well(&mut get) && well(&mut namespace)
}

/// Only possible once the server has made its certificate.
fn write_kubeconfig(to: &Path, folder: &Path, port: u16) -> Result<()> {
    let authority = folder.join("certificates/apiserver.crt");
    ensure!(authority.is_file(), "no certificate yet");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: api\n\
         clusters:\n- name: api\n  cluster:\n    server: https://127.0.0.1:{port}\n    \
         certificate-authority: {}\n\
         users:\n- name: admin\n  user:\n    token: {}\n\
         contexts:\n- name: api\n  context: {{cluster: api, user: admin, namespace: default}}\n",
        authority.display(),
        token(folder)?
    );
    let draft = to.with_added_extension("part");
    fs::write(&draft, text)?;
    fs::rename(&draft, to)?;
    Ok(())
}

fn last_words(folder: &Path, name: &str) -> String {
    let text = fs::read_to_string(folder.join(format!("{name}.log"))).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// Three ports nobody listens on now.
fn free_ports() -> Result<[u16; 3]> {
    let listen = || TcpListener::bind("127.0.0.1:0").context("no free port");
    let listeners = [listen()?, listen()?, listen()?];
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
