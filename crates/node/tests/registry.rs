//! Pulls from a registry on loopback, which is part of the test: logins, redirects, and everything a bad one does.

#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

mod images;

use images::{Built, Form, Layer, Place, names};
use pond_core::model::Image;
use pond_node::image::{ImageError, Reference, Rootfs, Settings, Store};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// How the registry behaves.
#[derive(Clone, Default)]
struct Manners {
    /// Wants a token, which is given to this login (or to everybody when empty).
    token: Option<&'static str>,
    /// Wants this login itself.
    basic: Option<&'static str>,
    /// Sends this many bytes of a blob, then breaks the connection; once a request.
    breaks_after: Option<usize>,
    /// Takes no ranges: sends everything again.
    no_ranges: bool,
    /// Answers this many requests with 503 first.
    busy: usize,
    /// Answers everything with this status.
    status: Option<u16>,
    /// Sends blobs from another address.
    redirects_to: Option<SocketAddr>,
    /// Changes a byte of what it sends.
    lies: bool,
    /// Says another digest of its manifests than they have.
    wrong_header: bool,
    /// Sends more than was said.
    adds: bool,
}

struct Registry {
    address: SocketAddr,
    manners: Arc<Mutex<Manners>>,
    /// Request lines with the `Authorization` and `Range` they carried.
    asked: Arc<Mutex<Vec<String>>>,
    content: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

const LOGIN: &str = "Basic dXNlcjpwYXNz"; // user:pass

impl Registry {
    fn new(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let registry = Self {
            address: listener.local_addr().unwrap(),
            manners: Arc::new(Mutex::new(manners)),
            asked: Arc::default(),
            content: Arc::default(),
        };
        let (manners, asked, content) =
            (registry.manners.clone(), registry.asked.clone(), registry.content.clone());
        let own = registry.address;
        // lives as long as the process of the test
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (manners, asked, content) = (manners.clone(), asked.clone(), content.clone());
                std::thread::spawn(move || drop(serve(&stream, own, &manners, &asked, &content)));
            }
        });
        registry
    }

    fn push(&self, tag: &str, built: &Built) {
        let mut content = self.content.lock().unwrap();
        for (digest, bytes) in &built.blobs {
            content.insert(format!("/v2/team/app/blobs/{digest}"), bytes.clone());
            content.insert(format!("/v2/team/app/manifests/{digest}"), bytes.clone());
        }
        let manifest = built.blobs[&built.manifest.0.to_string()].clone();
        content.insert(format!("/v2/team/app/manifests/{tag}"), manifest);
    }

    fn image(&self, tag: &str) -> Image {
        Image::Registry(format!("{}/team/app:{tag}", self.address))
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(
    stream: &TcpStream,
    own: SocketAddr,
    manners: &Mutex<Manners>,
    asked: &Mutex<Vec<String>>,
    content: &Mutex<BTreeMap<String, Vec<u8>>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    let (mut login, mut range) = (String::new(), None);
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => login = value.to_owned(),
            "range" => {
                range = value
                    .strip_prefix("bytes=")
                    .and_then(|text| text.strip_suffix('-')?.parse::<usize>().ok())
            }
            _ => {}
        }
    }
    let path = request.split(' ').nth(1).unwrap_or("").to_owned();
    asked.lock().unwrap().push(format!("{path} login={login} range={}", range.unwrap_or(0)));
    let (manners, busy) = {
        let mut manners = manners.lock().unwrap();
        let busy = manners.busy > 0;
        manners.busy = manners.busy.saturating_sub(1);
        (manners.clone(), busy)
    };
    let mut out = stream;
    let mut plain = |status: &str, headers: &str, body: &str| {
        write!(
            out,
            "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    if busy {
        return plain("503 Busy", "", "");
    }
    if let Some(status) = manners.status {
        return plain(&format!("{status} Status"), "", "");
    }
    if path.starts_with("/token") {
        let wanted = manners.token.unwrap_or("");
        let fits = path.contains("scope=repository") && path.contains("service=pond");
        return if fits && login == wanted {
            plain("200 OK", "", r#"{"token":"t0ken"}"#)
        } else {
            plain("401 No", "", "")
        };
    }
    if manners.token.is_some() && login != "Bearer t0ken" {
        let challenge = format!(
            "WWW-Authenticate: Bearer realm=\"http://{own}/token\",service=\"pond\",scope=\"repository:team/app:pull\"\r\n"
        );
        return plain("401 No", &challenge, "");
    }
    if manners.basic.is_some_and(|wanted| login != wanted) {
        return plain("401 No", "WWW-Authenticate: Basic realm=\"pond\"\r\n", "");
    }
    let is_blob = path.contains("/blobs/");
    if let (Some(to), true) = (manners.redirects_to, is_blob) {
        return plain("307 There", &format!("Location: http://{to}{path}\r\n"), "");
    }
    let Some(mut body) = content.lock().unwrap().get(&path).cloned() else {
        return plain("404 None", "", "");
    };
    if manners.lies && !body.is_empty() {
        *body.last_mut().unwrap() ^= 1;
    }
    if manners.adds {
        body.extend_from_slice(b"more");
    }
    let mut headers = String::new();
    if manners.wrong_header {
        headers = format!("Docker-Content-Digest: {}\r\n", pond_node::image::Digest::of(b"other"));
    }
    let from = range.filter(|_| is_blob && !manners.no_ranges).unwrap_or(0);
    let status = if from > 0 {
        headers.push_str(&format!("Content-Range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len()));
        "206 Part"
    } else {
        "200 OK"
    };
    let body = &body[from..];
    write!(out, "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n", body.len())?;
    let sent = manners.breaks_after.filter(|_| is_blob).unwrap_or(body.len()).min(body.len());
    out.write_all(&body[..sent])
}

fn pull(place: &Place, image: &Image) -> Result<Rootfs, ImageError> {
    place.store.prepare(image, &mut |_progress| true)
}

fn small() -> Built {
    let layers = [(Layer::new().file("one", "1"), Form::Gzip), (Layer::new().file("two", "2"), Form::Zstd)];
    Built::new(&layers, r#"{"Cmd":["run"]}"#)
}

/// Half a mebibyte that does not compress.
fn large() -> Built {
    let mut state = 1_u32;
    let noise: String = (0..500_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'!' + (state >> 24) as u8 % 90)
        })
        .collect();
    Built::new(&[(Layer::new().file("large", &noise), Form::Plain)], "{}")
}

fn assert_no_rubbish(place: &Place) {
    assert!(place.rubbish().is_empty());
    assert!(names(&place.path("images/layers")).is_empty());
}

#[test]
fn an_open_registry_is_pulled_from_once() {
    let registry = Registry::new(Manners::default());
    registry.push("v1", &small());
    let place = Place::new();
    let mut told = Vec::new();
    let rootfs = place
        .store
        .prepare(&registry.image("v1"), &mut |progress| {
            told.push(progress.to_string());
            true
        })
        .unwrap();
    assert_eq!(rootfs.lowers.len(), 2);
    assert!(rootfs.lowers[0].join("two").exists() && rootfs.lowers[1].join("one").exists());
    assert_eq!(rootfs.config.cmd, ["run"]);
    assert!(told.iter().any(|text| text.starts_with("pulling ")), "{told:?}");
    assert!(names(&place.path("images/parts")).is_empty(), "what is unpacked need not be kept");
    let before = registry.asked().len();
    assert_eq!(pull(&place, &registry.image("v1")).unwrap(), rootfs);
    assert_eq!(registry.asked().len(), before, "a fresh tag is not asked about again");
    let digest = Image::Registry(format!("{}/team/app@{}", registry.address, small().manifest.0));
    assert_eq!(pull(&place, &digest).unwrap(), rootfs);
}

#[test]
fn a_moved_tag_is_followed_and_an_absent_registry_forgiven() {
    let settings =
        Settings { docker_config: None, keep_free_bytes: 0, recheck_after_s: 0, ..Settings::default() };
    let place = Place::with(settings);
    let registry = Registry::new(Manners::default());
    registry.push("v1", &small());
    let first = pull(&place, &registry.image("v1")).unwrap();
    registry.push("v1", &large());
    let second = pull(&place, &registry.image("v1")).unwrap();
    assert_ne!(first.id, second.id);
    registry.manners.lock().unwrap().status = Some(429);
    assert_eq!(pull(&place, &registry.image("v1")).unwrap(), second, "what is here is used");
    let why = pull(&place, &registry.image("v2")).unwrap_err();
    assert!(matches!(why, ImageError::RateLimited { .. }) && why.is_passing(), "{why}");
}

fn docker_config(place: &Place, registry: &Registry) -> Store {
    let file = place.path("layout-config.json");
    let (_, login) = LOGIN.split_once(' ').unwrap();
    fs::write(&file, format!(r#"{{"auths":{{"http://{}/v2/":{{"auth":"{login}"}}}}}}"#, registry.address))
        .unwrap();
    let settings = Settings { docker_config: Some(file), keep_free_bytes: 0, ..Settings::default() };
    Store::open(&place.path("images"), settings).unwrap()
}

#[test]
fn logins_are_used_when_asked_for() {
    for manners in [
        Manners { token: Some(""), ..Manners::default() },
        Manners { token: Some(LOGIN), ..Manners::default() },
        Manners { basic: Some(LOGIN), ..Manners::default() },
    ] {
        let needs_login = manners.token != Some("");
        let registry = Registry::new(manners);
        registry.push("v1", &small());
        let place = Place::new();
        let anonymous = pull(&place, &registry.image("v1"));
        if needs_login {
            let why = anonymous.unwrap_err();
            assert!(
                matches!(&why, ImageError::Denied { .. }) && why.to_string().contains("docker login"),
                "{why}"
            );
            assert!(docker_config(&place, &registry).prepare(&registry.image("v1"), &mut |_| true).is_ok());
        } else {
            anonymous.unwrap();
        }
    }
}

#[test]
fn a_login_does_not_travel_with_a_redirect() {
    let elsewhere = Registry::new(Manners::default());
    let registry = Registry::new(Manners {
        basic: Some(LOGIN),
        redirects_to: Some(elsewhere.address),
        ..Manners::default()
    });
    registry.push("v1", &small());
    elsewhere.push("v1", &small());
    let place = Place::new();
    docker_config(&place, &registry).prepare(&registry.image("v1"), &mut |_| true).unwrap();
    assert!(registry.asked().iter().any(|line| line.contains(LOGIN)));
    assert!(elsewhere.asked().len() >= 3);
    assert!(elsewhere.asked().iter().all(|line| line.contains("login= ")), "{:?}", elsewhere.asked());
}

#[test]
fn redirects_that_never_end_are_given_up() {
    let registry = Registry::new(Manners::default());
    registry.push("v1", &small());
    registry.manners.lock().unwrap().redirects_to = Some(registry.address);
    let place = Place::new();
    let why = pull(&place, &registry.image("v1")).unwrap_err();
    assert!(why.to_string().contains("too many redirects"), "{why}");
    assert_no_rubbish(&place);
}

#[test]
fn what_is_missing_or_refused_is_said() {
    let registry = Registry::new(Manners::default());
    let place = Place::new();
    let why = pull(&place, &registry.image("v1")).unwrap_err();
    assert!(matches!(why, ImageError::NotFound { .. }) && !why.is_passing(), "{why}");
    registry.push("v1", &small());
    for (status, wanted) in [(403, "denied access"), (429, "limits pulls"), (418, "status 418")] {
        registry.manners.lock().unwrap().status = Some(status);
        let why = pull(&place, &registry.image("v1")).unwrap_err();
        assert!(why.to_string().contains(wanted), "{why}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let why = pull(&place, &Image::Registry(format!("{closed}/team/app:v1"))).unwrap_err();
    assert!(matches!(why, ImageError::Unreachable { .. }) && why.is_passing(), "{why}");
    assert_no_rubbish(&place);
}

#[test]
fn content_that_is_not_what_it_should_be_is_refused() {
    let honest = Manners::default();
    for (manners, wanted) in [
        (Manners { lies: true, ..honest.clone() }, "damaged or was changed"),
        (Manners { wrong_header: true, ..honest.clone() }, "damaged or was changed"),
    ] {
        let registry = Registry::new(manners);
        registry.push("v1", &small());
        let place = Place::new();
        let digest = Image::Registry(format!("{}/team/app@{}", registry.address, small().manifest.0));
        for image in [registry.image("v1"), digest] {
            let got = pull(&place, &image);
            // by digest a wrong header does not matter
            let fine = registry.manners.lock().unwrap().wrong_header
                && matches!(&image, Image::Registry(name) if name.contains('@'));
            assert!(fine == got.is_ok(), "{got:?}");
            if let Err(why) = got {
                assert!(why.to_string().contains(wanted) || why.to_string().contains("not valid"), "{why}");
                assert_no_rubbish(&place);
            }
        }
    }
}

#[test]
fn a_blob_that_is_longer_or_other_than_said_is_refused() {
    let built = small();
    let place = Place::new();
    for damage in [b"more".to_vec(), Vec::new()] {
        let registry = Registry::new(Manners::default());
        registry.push("v1", &built);
        {
            // layers only: the smallest manifest-like documents stay whole
            let mut content = registry.content.lock().unwrap();
            for (path, bytes) in content.iter_mut() {
                if path.contains("/blobs/") && !bytes.starts_with(b"{") {
                    if damage.is_empty() {
                        *bytes.last_mut().unwrap() ^= 1;
                    } else {
                        bytes.extend_from_slice(&damage);
                    }
                }
            }
        }
        let why = pull(&place, &registry.image("v1")).unwrap_err();
        let right = if damage.is_empty() {
            matches!(why, ImageError::DigestMismatch { .. })
        } else {
            matches!(why, ImageError::SizeMismatch { .. })
        };
        assert!(right, "{why}");
        assert_no_rubbish(&place);
        registry.push("v1", &built);
        assert!(registry.content.lock().unwrap().len() > 3);
    }
}

#[test]
fn a_connection_that_breaks_is_gone_on_with() {
    let registry = Registry::new(Manners { breaks_after: Some(200_000), ..Manners::default() });
    registry.push("v1", &large());
    let place = Place::new();
    let rootfs = pull(&place, &registry.image("v1")).unwrap();
    assert_eq!(fs::metadata(rootfs.lowers[0].join("large")).unwrap().len(), 500_000);
    let resumed = registry.asked().iter().filter(|line| line.contains("range=200000")).count();
    assert_eq!(resumed, 1, "{:?}", registry.asked());
}

#[test]
fn a_registry_that_cannot_go_on_never_ends_the_pull_well() {
    let registry = Registry::new(Manners { breaks_after: Some(1000), no_ranges: true, ..Manners::default() });
    registry.push("v1", &large());
    let place = Place::new();
    let why = pull(&place, &registry.image("v1")).unwrap_err();
    assert!(matches!(why, ImageError::SizeMismatch { .. }), "{why}");
    assert!(registry.asked().len() < 12, "it is given up: {:?}", registry.asked());
    assert_no_rubbish(&place);
    registry.manners.lock().unwrap().breaks_after = None;
    pull(&place, &registry.image("v1")).unwrap();
}

#[test]
fn a_busy_registry_is_asked_again() {
    let registry = Registry::new(Manners { busy: 2, ..Manners::default() });
    registry.push("v1", &small());
    pull(&Place::new(), &registry.image("v1")).unwrap();
}

#[test]
fn a_cancelled_pull_goes_on_where_it_ended() {
    let registry = Registry::new(Manners::default());
    let noise = large();
    // large enough for progress in between
    let text =
        String::from_utf8_lossy(noise.blobs.values().max_by_key(|bytes| bytes.len()).unwrap()).repeat(6);
    registry.push("v1", &Built::new(&[(Layer::new().file("large", &text), Form::Plain)], "{}"));
    let place = Place::new();
    let cancelled = place.store.prepare(&registry.image("v1"), &mut |progress| progress.done < 1 << 20);
    assert!(matches!(cancelled, Err(ImageError::Cancelled { .. })), "{cancelled:?}");
    assert_no_rubbish(&place);
    let part = names(&place.path("images/parts"));
    let kept = fs::metadata(place.path("images/parts").join(&part[0])).unwrap().len();
    assert!(kept >= 1 << 20);
    pull(&place, &registry.image("v1")).unwrap();
    assert!(
        registry.asked().iter().any(|line| line.ends_with(&format!("range={kept}"))),
        "{:?}",
        registry.asked()
    );
}

#[test]
fn a_damaged_part_of_an_earlier_try_is_fetched_anew() {
    let registry = Registry::new(Manners::default());
    let built = large();
    registry.push("v1", &built);
    let place = Place::new();
    let (digest, bytes) = built.blobs.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let part = place.path("images/parts").join(digest.trim_start_matches("sha256:"));
    fs::write(part, vec![0; bytes.len() / 2]).unwrap();
    pull(&place, &registry.image("v1")).unwrap();
}

#[test]
fn two_pulls_at_once_fetch_each_layer_once() {
    let registry = Registry::new(Manners::default());
    registry.push("v1", &large());
    let place = Place::new();
    std::thread::scope(|scope| {
        let pulls: Vec<_> =
            (0..4).map(|_| scope.spawn(|| pull(&place, &registry.image("v1")).unwrap())).collect();
        let made: Vec<Rootfs> = pulls.into_iter().map(|it| it.join().unwrap()).collect();
        assert!(made.iter().all(|rootfs| *rootfs == made[0]));
    });
    let layer = large().blobs.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap().0.clone();
    let fetched = registry.asked().iter().filter(|line| line.contains(&format!("/blobs/{layer}"))).count();
    assert_eq!(fetched, 1);
}

#[test]
fn names_are_read_as_everybody_writes_them() {
    let read = |text: &str| Reference::parse(text).unwrap().to_string();
    assert_eq!(read("debian"), "docker.io/library/debian:latest");
    assert_eq!(read("pytorch/pytorch:2.13.0"), "docker.io/pytorch/pytorch:2.13.0");
    assert_eq!(read("ghcr.io/a/b/c:x"), "ghcr.io/a/b/c:x");
    assert_eq!(read("localhost:5000/x"), "localhost:5000/x:latest");
    assert_eq!(read("[::1]:5000/x:y"), "[::1]:5000/x:y");
    for bad in
        ["", "UPPER", "a//b", "a:b:c", "x/../y", "host:99999/x", "a@sha256:12", "a b", "-a", "a/b:", "é"]
    {
        let why = Reference::parse(bad);
        assert!(why.is_err(), "{bad:?} read as {why:?}");
    }
}
