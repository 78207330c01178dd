//! Images on disk become roots: whole, as their layers say, and never a step outside.

#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

mod images;

use images::{ARCH, Built, Entry, Form, Layer, Place, names, write_files, write_tar};
use pond_core::model::Image;
use pond_node::image::{ImageError, Rootfs, Settings, UnpackError};
use proptest::prelude::*;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::thread::UnshareFlags;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};
use tar::EntryType;

fn prepare(place: &Place, path: &str) -> Result<Rootfs, ImageError> {
    place.store.prepare(&Image::Layout(path.to_owned()), &mut |_progress| true)
}

fn prepare_layers(place: &Place, layers: &[(Layer, Form)]) -> Result<Rootfs, ImageError> {
    let path = Built::new(layers, "{}").layout(&place.path("layout"));
    prepare(place, &path)
}

/// Shows the merged root to `look`, mounted in a namespace that ends with it; `None` where that is not possible.
fn merged<T: Send>(place: &Place, rootfs: &Rootfs, look: impl FnOnce(&Path) -> T + Send) -> Option<T> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: not root, so what overlay makes of the layers stays untested");
        return None;
    }
    let at = place.path("layout/merged");
    fs::create_dir_all(&at).unwrap();
    let empty = place.path("layout/empty");
    fs::create_dir_all(&empty).unwrap();
    // overlay wants two layers at least when there is no upper one
    let lowers: Vec<String> =
        rootfs.lowers.iter().chain([&empty]).map(|path| path.display().to_string()).collect();
    let options = std::ffi::CString::new(format!("lowerdir={}", lowers.join(":"))).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            #[expect(deprecated, reason = "unsound only with FILES, which is not among these flags")]
            rustix::thread::unshare(UnshareFlags::NEWNS).unwrap();
            rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
                .unwrap();
            rustix::mount::mount("overlay", &at, "overlay", MountFlags::RDONLY, Some(options.as_c_str()))
                .unwrap();
            look(&at)
        });
        Some(thread.join().unwrap())
    })
}

fn text(path: std::path::PathBuf) -> String {
    fs::read_to_string(&path).unwrap_or_else(|why| format!("{}: {why}", path.display()))
}

#[test]
fn layers_of_every_form_stack_as_they_should() {
    let place = Place::new();
    let base = Layer::new()
        .folder("./", 0o755)
        .folder("etc/", 0o755)
        .file("etc/gone", "x")
        .file("etc/kept", "kept")
        .folder("opaque/", 0o755)
        .file("opaque/below", "x")
        .folder("replaced/", 0o755)
        .file("replaced/below", "x")
        .file("changed", "old");
    let middle = Layer::new()
        .folder("etc/", 0o750)
        .file("etc/.wh.gone", "")
        .folder("opaque/", 0o755)
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/above", "above")
        .file(".wh.replaced", "")
        .folder("replaced/", 0o755)
        .file("replaced/above", "above");
    let top = Layer::new()
        .file("changed", "new")
        .hard_link("linked", "changed")
        .symlink("link", "/etc/kept")
        .entry(&Entry { path: b"suid", mode: 0o4755, owner: (1234, 5678), body: b"#!", ..Entry::default() })
        .entry(&Entry { path: b"pipe", kind: EntryType::Fifo, mode: 0o600, ..Entry::default() })
        .entry(&Entry { path: b"disk", kind: EntryType::Block, ..Entry::default() })
        .pax(&[("SCHILY.xattr.user.note", b"hello"), ("SCHILY.xattr.trusted.overlay.opaque", b"y")])
        .file("noted", "");
    let layers = [(base, Form::Plain), (middle, Form::Gzip), (top, Form::Zstd)];
    let rootfs = prepare_layers(&place, &layers).unwrap();
    assert_eq!(rootfs.lowers.len(), 3);
    merged(&place, &rootfs, |root| {
        assert_eq!(names(&root.join("etc")), ["kept"]);
        assert_eq!(fs::metadata(root.join("etc")).unwrap().mode() & 0o7777, 0o750);
        assert_eq!(names(&root.join("opaque")), ["above"]);
        assert_eq!(names(&root.join("replaced")), ["above"]);
        assert_eq!(text(root.join("changed")), "new");
        let ino = |name: &str| fs::metadata(root.join(name)).unwrap().ino();
        assert_eq!(ino("linked"), ino("changed"));
        assert_eq!(fs::read_link(root.join("link")).unwrap(), Path::new("/etc/kept"));
        let suid = fs::metadata(root.join("suid")).unwrap();
        assert_eq!(
            (suid.mode() & 0o7777, suid.uid(), suid.gid(), suid.mtime()),
            (0o4755, 1234, 5678, 1_700_000_000)
        );
        assert!(fs::metadata(root.join("pipe")).unwrap().file_type().is_fifo());
        assert!(!root.join("disk").exists(), "devices come from grants");
        let mut value = [0_u8; 16];
        assert_eq!(rustix::fs::getxattr(root.join("noted"), "user.note", &mut value[..]), Ok(5));
    });
    assert_eq!(
        prepare(&place, &place.path("layout").display().to_string()).unwrap(),
        rootfs,
        "twice is once"
    );
    assert!(place.rubbish().is_empty());
}

#[test]
fn a_layer_without_its_parents_leans_on_those_below() {
    let place = Place::new();
    let base = Layer::new()
        .folder("usr/", 0o755)
        .folder("usr/lib/", 0o755)
        .file("usr/lib/a", "a")
        .symlink("lib", "usr/lib")
        .entry(&Entry {
            path: b"tmp/",
            kind: EntryType::Directory,
            mode: 0o1777,
            owner: (7, 8),
            ..Entry::default()
        })
        .file("original", "same");
    let top = Layer::new().file("lib/b", "b").file("tmp/x", "x").hard_link("copy", "original");
    let rootfs = prepare_layers(&place, &[(base, Form::Plain), (top.clone(), Form::Plain)]).unwrap();
    merged(&place, &rootfs, |root| {
        assert_eq!(names(&root.join("usr/lib")), ["a", "b"]);
        assert!(root.join("lib").is_symlink(), "the link is not covered by a folder");
        let tmp = fs::metadata(root.join("tmp")).unwrap();
        assert_eq!((tmp.mode() & 0o7777, tmp.uid(), tmp.gid()), (0o1777, 7, 8));
        assert_eq!(text(root.join("copy")), "same");
    });
    // over another base the same layer means something else, and must not be shared
    let other = Layer::new().folder("lib/", 0o700).file("original", "other");
    let second =
        Built::new(&[(other, Form::Plain), (top, Form::Plain)], "{}").layout(&place.path("layout/2"));
    let second = prepare(&place, &second).unwrap();
    merged(&place, &second, |root| {
        assert_eq!(names(&root.join("lib")), ["b"]);
        assert_eq!(fs::metadata(root.join("lib")).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(text(root.join("copy")), "other");
    });
}

#[test]
fn a_layer_that_comes_twice_is_stacked_once() {
    let place = Place::new();
    let twice = (Layer::new().file("a", "twice"), Form::Gzip);
    let between = (Layer::new().file(".wh.a", "").file("b", ""), Form::Gzip);
    let rootfs = prepare_layers(&place, &[twice.clone(), between, twice]).unwrap();
    assert_eq!(rootfs.lowers.len(), 2);
    merged(&place, &rootfs, |root| assert_eq!(names(root), ["a", "b"]));
}

#[test]
fn a_layer_not_on_disk_when_the_machine_went_down_is_made_anew() {
    let place = Place::new();
    let path =
        Built::new(&[(Layer::new().file("a", "text"), Form::Gzip)], "{}").layout(&place.path("layout"));
    let rootfs = prepare(&place, &path).unwrap();
    let layer = rootfs.lowers[0].parent().unwrap().to_owned();
    let end = Instant::now() + Duration::from_secs(60);
    while !layer.join("synced").exists() {
        assert!(Instant::now() < end, "never synced");
        std::thread::sleep(Duration::from_millis(5));
    }
    // as if unpacked in an earlier boot and torn by its end
    let about = layer.join("layer.json");
    let mut info: serde_json::Value = serde_json::from_slice(&fs::read(&about).unwrap()).unwrap();
    info["boot"] = "another".into();
    fs::write(&about, info.to_string()).unwrap();
    fs::write(rootfs.lowers[0].join("a"), "").unwrap();
    assert_eq!(text(prepare(&place, &path).unwrap().lowers[0].join("a")), "", "synced, and so trusted");
    fs::remove_file(layer.join("synced")).unwrap();
    assert_eq!(text(prepare(&place, &path).unwrap().lowers[0].join("a")), "text");
    assert!(place.rubbish().is_empty());
}

#[test]
fn the_config_says_how_to_run_it() {
    let place = Place::new();
    let files = Layer::new()
        .folder("etc/", 0o755)
        .file("etc/real-passwd", "root:x:0:0::/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n")
        .symlink("etc/passwd", "/etc/real-passwd")
        .file("etc/group", "root:x:0:\napp:x:1001:\ngpu:x:44:app,other\n");
    let image = |name: &str, run: &str| {
        let path = Built::new(&[(files.clone(), Form::Gzip)], run).layout(&place.path("layout").join(name));
        prepare(&place, &path)
    };
    let config = image(
        "full",
        r#"{"Env":["PATH=/bin","A=b=c","BROKEN"],"Entrypoint":["/bin/sh"],"Cmd":["-c","x"],"WorkingDir":"/w","User":"app","StopSignal":"SIGINT"}"#,
    )
    .unwrap()
    .config;
    assert_eq!(config.env, [("PATH".to_owned(), "/bin".to_owned()), ("A".to_owned(), "b=c".to_owned())]);
    assert_eq!((config.entrypoint.len(), config.cmd.len()), (1, 2));
    assert_eq!(config.workdir.as_deref(), Some("/w"));
    assert_eq!((config.user, config.groups.as_slice()), (Some((1000, 1001)), &[44][..]));
    assert_eq!(config.home.as_deref(), Some("/home/app"));
    assert_eq!(config.stop_signal.as_deref(), Some("SIGINT"));
    let user =
        |name: &str, user: &str| image(name, &format!(r#"{{"User":"{user}"}}"#)).map(|root| root.config.user);
    assert_eq!(user("a", "").unwrap(), None);
    assert_eq!(user("b", "4242").unwrap(), Some((4242, 0)));
    assert_eq!(user("c", "1000:gpu").unwrap(), Some((1000, 44)));
    assert_eq!(user("d", "app:7").unwrap(), Some((1000, 7)));
    let why = user("e", "nobody-here").unwrap_err();
    assert!(matches!(&why, ImageError::NoUser { user, .. } if user == "nobody-here"), "{why}");
}

#[test]
fn the_variant_for_this_machine_is_taken() {
    let place = Place::new();
    let right = Built::new(&[(Layer::new().file("right", ""), Form::Plain)], "{}");
    let wrong = Built::new(&[(Layer::new().file("wrong", ""), Form::Plain)], "{}");
    let platform = |arch: &str| format!(r#","platform":{{"architecture":"{arch}","os":"linux"}}"#);
    let index = |entries: &[String]| format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
    let mut both = right.clone();
    both.blobs.extend(wrong.blobs.clone());
    let inner = index(&[wrong.pointer(&platform("s390x")), right.pointer(&platform(ARCH))]);
    let (digest, size) = both.blob(inner.clone().into_bytes());
    // an index of an index, as buildx writes it
    let outer = index(&[format!(r#"{{"digest":"{digest}","size":{size}}}"#)]);
    for (name, text) in [("flat", inner), ("nested", outer)] {
        write_files(&place.path("layout").join(name), &both.files_with(&text));
        let rootfs = prepare(&place, &place.path("layout").join(name).display().to_string()).unwrap();
        assert!(rootfs.lowers[0].join("right").exists());
    }
    write_files(&place.path("layout/none"), &wrong.files_with(&index(&[wrong.pointer(&platform("s390x"))])));
    let why = prepare(&place, &place.path("layout/none").display().to_string()).unwrap_err();
    assert!(why.to_string().contains("it has linux/s390x"), "{why}");
}

#[test]
fn tar_files_of_both_makers_are_read() {
    let place = Place::new();
    let layer = Layer::new().file("hello", "world");
    let built = Built::new(&[(layer.clone(), Form::Gzip)], r#"{"Cmd":["x"]}"#);
    let oci = write_tar(&place.path("layout.tar"), &built.files());
    let rootfs = prepare(&place, &oci).unwrap();
    assert_eq!(text(rootfs.lowers[0].join("hello")), "world");

    let other = Layer::new().file("second", "layer");
    let config = |diffs: &[&Layer]| {
        let diffs: Vec<String> = diffs
            .iter()
            .map(|layer| format!("\"{}\"", pond_node::image::Digest::of(&layer.plain())))
            .collect();
        format!(r#"{{"architecture":"{ARCH}","os":"linux","rootfs":{{"diff_ids":[{}]}}}}"#, diffs.join(","))
            .into_bytes()
    };
    let manifest = br#"[{"Config":"c.json","RepoTags":["app:one"],"Layers":["a/layer.tar","b/layer.tar"]}]"#;
    let docker = BTreeMap::from([
        ("a/layer.tar".to_owned(), layer.plain()),
        ("b/layer.tar".to_owned(), other.plain()),
        ("c.json".to_owned(), config(&[&layer, &other])),
        ("manifest.json".to_owned(), manifest.to_vec()),
    ]);
    let path = write_tar(&place.path("docker.tar"), &docker);
    let rootfs = prepare(&place, &path).unwrap();
    assert_eq!(text(rootfs.lowers[0].join("second")), "layer");
    assert_eq!(prepare(&place, &format!("{path}:one")).unwrap(), rootfs);
    let why = prepare(&place, &format!("{path}:two")).unwrap_err();
    assert!(why.to_string().contains("it has app:one"), "{why}");
    let wrong = BTreeMap::from([("c.json".to_owned(), config(&[&layer, &Layer::new().file("third", "")]))]);
    let docker: BTreeMap<_, _> = docker.into_iter().chain(wrong).collect();
    let why = prepare(&place, &write_tar(&place.path("wrong.tar"), &docker)).unwrap_err();
    assert!(matches!(why, ImageError::Unpack { .. }), "a layer must be the one its config names: {why}");
}

#[test]
fn a_layout_of_several_images_wants_a_tag() {
    let place = Place::new();
    let one = Built::new(&[(Layer::new().file("one", ""), Form::Plain)], "{}");
    let mut two = Built::new(&[(Layer::new().file("two", ""), Form::Plain)], "{}");
    let tag = |tag: &str| format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{tag}"}}"#);
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{},{}]}}"#,
        one.pointer(&tag("v1")),
        two.pointer(&tag("v2"))
    );
    two.blobs.extend(one.blobs.clone());
    write_files(&place.path("layout"), &two.files_with(&index));
    let path = place.path("layout").display().to_string();
    assert!(prepare(&place, &format!("{path}:v2")).unwrap().lowers[0].join("two").exists());
    let why = prepare(&place, &path).unwrap_err();
    assert!(matches!(&why, ImageError::Ambiguous { tags, .. } if tags == "v1, v2"), "{why}");
    let why = prepare(&place, &format!("{path}:v3")).unwrap_err();
    assert!(matches!(why, ImageError::NoTag { .. }), "{why}");
}

#[test]
fn links_in_a_layout_lead_to_what_is_in_it_and_nowhere_else() {
    let place = Place::new();
    let built = Built::new(&[(Layer::new().file("one", ""), Form::Plain)], "{}");
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, built.pointer(""));
    for (name, inside) in [("within", true), ("without", false)] {
        let layout = place.path(name);
        write_files(&layout, &built.files_with(&index));
        let moved = if inside { layout.join("kept") } else { place.path("elsewhere") };
        fs::rename(layout.join("blobs"), &moved).unwrap();
        let target = if inside { Path::new("kept") } else { moved.as_path() };
        std::os::unix::fs::symlink(target, layout.join("blobs")).unwrap();
        let ready = prepare(&place, &layout.display().to_string());
        if inside {
            assert!(ready.unwrap().lowers[0].join("one").exists());
        } else {
            let why = ready.unwrap_err();
            assert!(matches!(why, ImageError::NoLayout { why: "a link in it leads out of it", .. }), "{why}");
        }
    }
}

#[test]
fn what_is_no_image_is_told_apart() {
    let place = Place::new();
    let none = |path: &Path| prepare(&place, &path.display().to_string()).unwrap_err();
    assert!(matches!(none(&place.path("nowhere")), ImageError::NoLayout { .. }));
    assert!(matches!(none(&place.path("outside")), ImageError::NoLayout { .. }));
    assert!(matches!(none(Path::new("/dev/null")), ImageError::NoLayout { .. }));
    fs::create_dir(place.path("layout")).unwrap();
    let good = Built::new(&[(Layer::new().file("a", ""), Form::Gzip)], "{}");
    let files = good.files();
    for (name, _) in files.clone() {
        let folder = place.path("layout").join(name.replace('/', "-"));
        for damage in [Vec::new(), b"{}".to_vec(), b"[1,2".to_vec()] {
            let mut damaged = files.clone();
            if name == "oci-layout" {
                continue;
            }
            damaged.insert(name.clone(), damage);
            write_files(&folder, &damaged);
            let why = none(&folder);
            assert!(!why.to_string().is_empty() && !why.is_passing(), "{why}");
        }
        let mut missing = files.clone();
        missing.remove(&name);
        fs::remove_dir_all(&folder).ok();
        write_files(&folder, &missing);
        if name != "oci-layout" {
            assert!(!none(&folder).to_string().is_empty());
        }
    }
    assert!(place.rubbish().is_empty() && names(&place.path("images/layers")).is_empty());
}

fn unpack_error(place: &Place, layer: Layer) -> UnpackError {
    match prepare_layers(place, &[(layer, Form::Gzip)]) {
        Err(ImageError::Unpack { source, .. }) => *source,
        other => panic!("{other:?} instead of a refused layer"),
    }
}

#[test]
fn hostile_paths_are_refused_and_touch_nothing() {
    let place = Place::new();
    let before = place.outside();
    let outside = place.path("outside").display().to_string();
    let escapes = [
        Layer::new().file("../../../../outside/secret", "owned"),
        Layer::new().file("a/../../x", "owned"),
        Layer::new().hard_link("in", "../../../../outside/secret"),
        Layer::new().file("a/.wh...", ""),
        Layer::new().file(".wh..", ""),
    ];
    for layer in escapes {
        let why = unpack_error(&place, layer);
        assert!(matches!(why, UnpackError::Escapes { .. }), "{why}");
    }
    let missing = [
        Layer::new().hard_link("in", &format!("{outside}/secret")),
        Layer::new().symlink("door", &outside).hard_link("in", "door/secret"),
        Layer::new().symlink("door", "../../../../../outside").hard_link("in", "door/secret"),
    ];
    for layer in missing {
        let why = unpack_error(&place, layer);
        assert!(matches!(why, UnpackError::NoLinkTarget { .. }), "{why}");
    }
    let loops = Layer::new().symlink("a", "b").symlink("b", "a").file("a/x", "");
    assert!(matches!(unpack_error(&place, loops), UnpackError::NotAFolder { .. }));
    let through_a_file = Layer::new().file("a", "").file("a/x", "");
    assert!(matches!(unpack_error(&place, through_a_file), UnpackError::NotAFolder { .. }));
    let long = format!("{}/x", "d".repeat(300));
    assert!(matches!(unpack_error(&place, Layer::new().file(&long, "")), UnpackError::BadPath { .. }));
    let owner = Layer::new().pax(&[("uid", b"4294967295")]).file("x", "");
    assert!(matches!(unpack_error(&place, owner), UnpackError::BadOwner { .. }));
    assert_eq!(place.outside(), before);
    assert!(place.rubbish().is_empty());
}

#[test]
fn what_points_outside_stays_inside() {
    let place = Place::new();
    let before = place.outside();
    let outside = place.path("outside").display().to_string();
    let climbing = format!("{}{outside}", "../".repeat(40));
    let layer = Layer::new()
        .file(&format!("{outside}/secret"), "absolute")
        .symlink("door", &outside)
        .file("door/folder/file", "through a link")
        .symlink("stairs", &climbing)
        .file("stairs/up", "by climbing")
        .symlink("self", "/")
        .file("self/self/self/here", "round")
        .file("door/.wh.secret2", "");
    let rootfs = prepare_layers(&place, &[(layer, Form::Plain)]).unwrap();
    assert_eq!(place.outside(), before);
    let inside = rootfs.lowers[0].join(outside.trim_start_matches('/'));
    assert_eq!(text(inside.join("secret")), "absolute");
    assert_eq!(text(inside.join("folder/file")), "through a link");
    assert_eq!(text(inside.join("up")), "by climbing");
    assert_eq!(text(rootfs.lowers[0].join("here")), "round");
}

#[test]
fn bombs_are_bounded() {
    let limits = Settings {
        max_layer_bytes: 1 << 20,
        max_layer_entries: 100,
        docker_config: None,
        keep_free_bytes: 0,
        ..Settings::default()
    };
    let place = Place::with(limits);
    let zeros = "\0".repeat(2 << 20);
    let why = unpack_error(&place, Layer::new().file("zeros", &zeros));
    assert!(matches!(why, UnpackError::TooLarge { what: "bytes", .. }), "{why}");
    let many = (0..101).fold(Layer::new(), |layer, at| layer.file(&format!("f{at}"), ""));
    assert!(matches!(unpack_error(&place, many), UnpackError::TooLarge { what: "entries", .. }));
    let header = Layer::new().pax(&[("comment", zeros.as_bytes())]).file("x", "");
    assert!(matches!(unpack_error(&place, header), UnpackError::TooLarge { .. }));
    let row = (0..1000).fold(Layer::new(), |layer, _| layer.pax(&[("comment", b"x")]));
    assert!(matches!(unpack_error(&place, row), UnpackError::TooLarge { .. }));
    let mut tail = Layer::new().file("x", "").plain();
    tail.resize(8 << 20, 0);
    let path = Built::of_streams(&[(tail, Form::Zstd)], "{}").layout(&place.path("layout"));
    let why = prepare(&place, &path).unwrap_err();
    assert!(why.to_string().contains("after its end mark"), "{why}");
    assert!(place.rubbish().is_empty());
}

#[test]
fn damaged_streams_are_refused() {
    let place = Place::new();
    let whole = Layer::new().file("a", &"text".repeat(1000)).plain();
    let of = |plain: Vec<u8>| {
        let path = Built::of_streams(&[(plain, Form::Plain)], "{}").layout(&place.path("layout"));
        prepare(&place, &path).unwrap_err().to_string()
    };
    assert!(
        of(whole[..700].to_vec()).contains("ends early") || of(whole[..700].to_vec()).contains("end of file")
    );
    assert!(of(b"no tar at all, but long enough to be read".repeat(40)).contains("not a tar header"));
    let mut sum = whole.clone();
    sum[0] ^= 1;
    assert!(of(sum).contains("checksum"));
    let built = Built::of_streams(&[(whole, Form::Gzip)], "{}");
    let layer = built.blobs.iter().find(|(_, bytes)| bytes.starts_with(&[0x1f, 0x8b])).unwrap();
    for at in [20, layer.1.len() / 2, layer.1.len() - 5] {
        let mut files = built.files();
        let name = format!("blobs/{}", layer.0.replace(':', "/"));
        files.get_mut(&name).unwrap()[at] ^= 0x10;
        let folder = place.path("layout").join(format!("flip{at}"));
        write_files(&folder, &files);
        let why = prepare(&place, &folder.display().to_string()).unwrap_err();
        assert!(matches!(why, ImageError::Unpack { .. }), "{why}");
    }
    assert!(place.rubbish().is_empty() && names(&place.path("images/layers")).is_empty());
}

#[test]
fn many_at_once_make_one_layer_each() {
    let place = Place::new();
    let shared = Layer::new().file("shared", &"x".repeat(300_000));
    let paths: Vec<String> = (0..3)
        .map(|at| {
            let own = Layer::new().file(&format!("own{at}"), "x");
            let layers = [(shared.clone(), Form::Gzip), (own, Form::Zstd)];
            Built::new(&layers, "{}").layout(&place.path("layout").join(at.to_string()))
        })
        .collect();
    std::thread::scope(|scope| {
        let work = |at: usize| {
            let (place, path) = (&place, &paths[at % 3]);
            scope.spawn(move || prepare(place, path).unwrap())
        };
        let made: Vec<Rootfs> =
            (0..12).map(work).collect::<Vec<_>>().into_iter().map(|it| it.join().unwrap()).collect();
        let bottoms: BTreeSet<_> = made.iter().map(|rootfs| rootfs.lowers[1].clone()).collect();
        assert_eq!(bottoms.len(), 1);
    });
    assert_eq!(names(&place.path("images/layers")).len(), 4);
    assert!(place.rubbish().is_empty());
}

#[test]
fn unused_images_go_and_shared_layers_stay() {
    let place = Place::new();
    let shared = (Layer::new().file("shared", "x"), Form::Plain);
    let image = |name: &str| {
        let own = (Layer::new().file(name, name), Form::Plain);
        let path = Built::new(&[shared.clone(), own], "{}").layout(&place.path("layout").join(name));
        prepare(&place, &path).unwrap()
    };
    let (kept, gone) = (image("kept"), image("gone"));
    let in_use = BTreeSet::from([kept.id.clone()]);
    let young = place.store.collect(&in_use, Duration::from_secs(3600)).unwrap();
    assert_eq!((young.images, young.layers), (0, 0), "what was just prepared stays");
    let done = place.store.collect(&in_use, Duration::ZERO).unwrap();
    assert_eq!((done.images, done.layers, done.busy), (1, 1, false));
    assert!(kept.lowers.iter().all(|lower| lower.is_dir()));
    assert!(!gone.lowers[0].exists() && gone.lowers[1].exists());
    assert_eq!(place.store.list().unwrap().len(), 1);
    assert!(place.rubbish().is_empty());
    let again = image("gone");
    assert_eq!(again, gone);
    place.store.collect(&BTreeSet::new(), Duration::ZERO).unwrap();
    assert!(names(&place.path("images/layers")).is_empty());
}

#[test]
fn a_cancelled_preparation_leaves_nothing_half_done() {
    let place = Place::new();
    let layer = Layer::new().file("large", &"x".repeat(8 << 20));
    let path = Built::new(&[(layer, Form::Plain)], "{}").layout(&place.path("layout"));
    let mut told = 0;
    let cancelled = place.store.prepare(&Image::Layout(path.clone()), &mut |progress| {
        told += 1;
        progress.done < 3 << 20
    });
    assert!(matches!(cancelled, Err(ImageError::Cancelled { .. })), "{cancelled:?}");
    assert!(told >= 3);
    assert!(place.rubbish().is_empty() && names(&place.path("images/layers")).is_empty());
    prepare(&place, &path).unwrap();
}

/// Not a test of its own: the process that the next one kills.
#[test]
fn killed_child() {
    let Some(dir) = std::env::var_os("POND_TEST_KILLED") else { return };
    let dir = Path::new(&dir);
    let settings = Settings { docker_config: None, keep_free_bytes: 0, ..Settings::default() };
    let store = pond_node::image::Store::open(&dir.join("images"), settings).unwrap();
    store.prepare(&Image::Layout(dir.join("layout").display().to_string()), &mut |_| true).unwrap();
}

#[test]
fn a_kill_at_any_moment_leaves_whole_layers_or_none() {
    let place = Place::new();
    let files = |from: u32| {
        (from..from + 200).fold(Layer::new(), |layer, at| layer.file(&format!("f{at}"), &"y".repeat(900)))
    };
    let layers = [(files(0), Form::Gzip), (files(1000), Form::Plain)];
    let path = Built::new(&layers, "{}").layout(&place.path("layout"));
    let mut survived = 0;
    for round in 0..12_u64 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed_child"])
            .env("POND_TEST_KILLED", place.dir.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(2 + round * round * 3));
        child.kill().unwrap();
        child.wait().unwrap();
        for layer in names(&place.path("images/layers")) {
            let count = names(&place.path("images/layers").join(&layer).join("fs")).len();
            assert_eq!(count, 200, "round {round}: half a layer");
            survived += 1;
        }
        if survived > 1 {
            place.store.collect(&BTreeSet::new(), Duration::ZERO).unwrap();
        }
    }
    let began = Instant::now();
    let reopened = pond_node::image::Store::open(
        &place.path("images"),
        Settings { docker_config: None, keep_free_bytes: 0, ..Settings::default() },
    );
    assert!(place.rubbish().is_empty(), "swept at opening");
    let reopened = reopened.unwrap();
    let rootfs = reopened.prepare(&Image::Layout(path), &mut |_| true).unwrap();
    reopened.settle();
    assert!(rootfs.lowers.iter().all(|lower| names(lower).len() == 200));
    println!("after the kills: {:?}; {survived} layers had been finished in between", began.elapsed());
}

// ---- whatever a tar stream says ----

#[derive(Clone, Debug)]
struct Wild {
    path: String,
    kind: u8,
    link: String,
    mode: u32,
    body: String,
}

fn wild_path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        6 => "[a-c]",
        2 => Just("..".to_owned()),
        1 => Just(".".to_owned()),
        1 => Just(String::new()),
        1 => Just(".wh..wh..opq".to_owned()),
        1 => "\\.wh\\.[a-c.]",
        1 => Just("OUTSIDE".to_owned()),
    ];
    (any::<bool>(), proptest::collection::vec(part, 1..6))
        .prop_map(|(absolute, parts)| format!("{}{}", if absolute { "/" } else { "" }, parts.join("/")))
}

fn wild() -> impl Strategy<Value = Wild> {
    (wild_path(), 0..8_u8, wild_path(), 0..0o10000_u32, "[xyz]{0,20}")
        .prop_map(|(path, kind, link, mode, body)| Wild { path, kind, link, mode, body })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Two layers of random entries: unpacked or refused with a reason, the world outside is as before.
    #[test]
    fn random_layers_never_leave_the_root(
        first in proptest::collection::vec(wild(), 0..24),
        second in proptest::collection::vec(wild(), 0..24),
    ) {
        let place = Place::new();
        let outside = place.path("outside").display().to_string();
        let before = place.outside();
        let layer = |entries: &[Wild]| {
            entries.iter().fold(Layer::new(), |layer, wild| {
                let kind = match wild.kind {
                    0 | 1 => EntryType::Regular,
                    2 => EntryType::Directory,
                    3 | 4 => EntryType::Symlink,
                    5 => EntryType::Link,
                    6 => EntryType::Fifo,
                    _ => EntryType::Char,
                };
                let (path, link) =
                    (wild.path.replace("OUTSIDE", &outside), wild.link.replace("OUTSIDE", &outside));
                let body = if kind == EntryType::Regular { wild.body.as_bytes() } else { b"" };
                layer.entry(&Entry { path: path.as_bytes(), kind, link: link.as_bytes(), mode: wild.mode, body, ..Entry::default() })
            })
        };
        let outcome = prepare_layers(&place, &[(layer(&first), Form::Plain), (layer(&second), Form::Plain)]);
        prop_assert_eq!(place.outside(), before);
        prop_assert!(place.rubbish().is_empty());
        if let Ok(rootfs) = outcome {
            // overlay takes what was made of it
            let seen = merged(&place, &rootfs, |root| fs::read_dir(root).unwrap().count());
            prop_assert!(seen.is_none_or(|count| count <= 64));
        }
    }
}
