#!/bin/sh
# data_fetch_test.sh - tests of data_fetch/fetch.sh against a local server.
# Needs python3 for the server and to make the files; skips loudly without it.
# FETCH_SH names the shells to test under (default: sh, and dash, bash and
# busybox sh where they are). Last line: N passed, N failed[, N skipped].

# shellcheck disable=SC2086,SC2317,SC2030,SC2031  # $SH may be two words: "busybox sh"
set -u
LC_ALL=C
export LC_ALL
unset IPR_DATA IPR_DATA_MIRROR IPR_DATA_MANIFEST IPR_DATA_TIMEOUT
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY
cd "$(dirname "$0")" || exit 1
tests=$(pwd)
fetch=$(dirname "$tests")/data_fetch/fetch.sh
real_manifest=$(dirname "$tests")/data_fetch/manifest.tsv

passed=0; failed=0; skipped=0
tmp=$(mktemp -d "${TMPDIR:-/tmp}/ipr_fetch_test.XXXXXX") || exit 1
server=
leave() {
    [ -z "$server" ] || kill "$server" 2>/dev/null
    [ -z "$server" ] || wait "$server" 2>/dev/null
    chmod -R u+w "$tmp" 2>/dev/null
    rm -rf "$tmp"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

ok()   { passed=$((passed + 1)); }
no()   { failed=$((failed + 1)); printf 'FAIL [%s] %s\n' "$SH" "$1"; sed 's/^/     | /' "$tmp/out"; }
skip() { skipped=$((skipped + 1)); printf 'SKIPPED: %s\n' "$1"; }
is()   { if [ "$2" = "$3" ]; then ok; else no "$1: expected '$3', found '$2'"; fi; }
yes()  { yes_what=$1; shift; if "$@" >/dev/null 2>&1; then ok; else no "$yes_what"; fi; }
not()  { not_what=$1; shift; if "$@" >/dev/null 2>&1; then no "$not_what"; else ok; fi; }
said() { yes "$1: the message has '$2'" grep -qe "$2" "$tmp/out"; }
same() { yes "$1: right contents" cmp "$tmp/plain/$2" "$3"; }

if ! command -v python3 >/dev/null 2>&1; then
    skip "ALL of data_fetch_test: python3 is not installed, it makes the test server"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi

# ---- tiny data sets: files as served in $tmp/srv, as unpacked in $tmp/plain, and a manifest
python3 - "$tmp" <<'END' || exit 1
import gzip, hashlib, io, os, random, sys, tarfile, zipfile
t = sys.argv[1]
random.seed(1)
def noise(n): return bytes(random.getrandbits(8) for _ in range(n))
def put(d, p, b):
    p = os.path.join(t, d, p)
    os.makedirs(os.path.dirname(p), exist_ok=True)
    open(p, "wb").write(b)
def h(k, b): return hashlib.new(k, b).hexdigest()
rows = []
def row(s, form, path, b, unpack, gives, out=None, md5=False, urls="-"):
    rows.append("\t".join([s, form, path, str(len(b)), "-" if md5 else h("sha256", b), h("md5", b), "own", unpack, gives,
        str(len(out)) if out is not None else "-", h("sha256", out) if out is not None else "-", "test licence of " + s, urls]))
    put("srv", path, b)
a, b = noise(30000), noise(2000)
for n, d in (("images", a), ("labels", b)):
    z = gzip.compress(d, mtime=0)
    put("plain", "tiny/" + n, d)
    row("tiny", "full", "tiny/%s.gz" % n, z, "gunzip", "tiny/" + n, d, urls="@OFFICIAL@/tiny/%s.gz" % n)
c = noise(5000)
put("plain", "raw/file.bin", c)
row("raw", "full", "raw/file.bin", c, "none", "raw/file.bin", c, md5=True, urls="@OFFICIAL@/raw/file.bin")
for kind in ("gz", "xz"):
    f = io.BytesIO()
    with tarfile.open(fileobj=f, mode="w:" + kind) as tf:
        for n in ("one", "sub dir/two", "junk"):
            d = noise(300)
            top = "tree/" if n != "junk" else ""
            i = tarfile.TarInfo(top + n); i.size = len(d); i.mode = 0o644
            tf.addfile(i, io.BytesIO(d))
            put("plain", "tree%s/%s%s" % (kind, top, n), d)
    row("tree" + kind, "full", "tree%s/t.tar.%s" % (kind, kind), f.getvalue(), "tar", "tree%s/tree" % kind, urls="@OFFICIAL@/tree%s/t.tar.%s" % (kind, kind))
f = io.BytesIO()
with zipfile.ZipFile(f, "w") as z:
    z.writestr("a.txt", "alpha"); z.writestr("b/c.txt", "gamma")
put("plain", "zip/a.txt", b"alpha"); put("plain", "zip/b/c.txt", b"gamma")
row("zip", "full", "zip/z.zip", f.getvalue(), "unzip", "zip/a.txt,zip/b", urls="@OFFICIAL@/zip/z.zip")
# one set in two forms: an archive, and a part with no address
row("forms", "full", "forms/all.gz", gzip.compress(a, mtime=0), "gunzip", "forms/all", a, urls="@OFFICIAL@/forms/all.gz")
row("forms", "part", "forms/some.bin", b, "none", "forms/some.bin", b)
put("plain", "forms/some.bin", b)
row("folderonly", "derived", "folderonly/x.bin", b, "none", "folderonly/x.bin", b)
big = noise(400000)
put("plain", "big/f", big)
row("big", "full", "big/f.gz", gzip.compress(big, 1, mtime=0), "gunzip", "big/f", big, urls="@OFFICIAL@/big/f.gz")
open(os.path.join(t, "manifest.in"), "w").write("# test\n" + "\n".join(rows) + "\n")
END

# no test meets the network: without a server address the official one is a closed port
python3 "$tests/data_fetch_server.py" "$tmp/srv" "$tmp/port" "$tmp/log" </dev/null >/dev/null 2>"$tmp/server_err" &
server=$!
i=0
while [ ! -s "$tmp/port" ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i + 1)); done
[ -s "$tmp/port" ] || { echo "the test server did not start:"; cat "$tmp/server_err"; echo "0 passed, 1 failed"; exit 1; }
url=http://127.0.0.1:$(cat "$tmp/port")
closed=http://127.0.0.1:1

official() { sed "s|@OFFICIAL@|$1|g" "$tmp/manifest.in" >"$tmp/manifest.tsv"; }
fresh() { rm -rf "$tmp/d" "$tmp/cwd"; mkdir -p "$tmp/cwd"; : >"$tmp/log"; }
# f ARGS: run fetch.sh in an empty folder, status in $rc, all output in $tmp/out
f() {
    (cd "$tmp/cwd" && exec $SH "$fetch" --manifest "$tmp/manifest.tsv" --dest "$tmp/d" "$@") >"$tmp/out" 2>&1 </dev/null
    rc=$?
}
requests() { wc -l <"$tmp/log" | tr -d ' '; }
# a folder of links to the programs in use here, but those named
python=$(python3 -c 'import sys; print(sys.executable)')
path_without() {
    rm -rf "${tmp:?}/bin"; mkdir "$tmp/bin"
    for p in sh dash bash busybox awk basename cat chmod cmp cp cut date dd df dirname env find grep gzip head ln ls md5 md5sum \
        mkdir mktemp mv openssl perl rm rmdir sed sha256sum shasum sleep sort tail tar tr unzip wc wget curl xargs xz bsdtar; do
        p_at=$(command -v $p 2>/dev/null) && ln -s "$p_at" "$tmp/bin/$p"
    done
    ln -s "$python" "$tmp/bin/python3"
    for p in "$@"; do rm -f "$tmp/bin/$p"; done
}
left_clean() { # nothing but finished files and .part
    is "$1: no temporary folders, no lock left" "$(find "$tmp/d" \( -name '.tmp.*' -o -name .lock \) 2>/dev/null | wc -l | tr -d ' ')" 0
}

usage_tests() {
    fresh; official "$closed"
    f --help; is "--help" $rc 0; said "--help" 'Exit codes'; said "--help" 'IPR_DATA_MANIFEST'
    f --lsit; is "unknown option" $rc 2; said "unknown option" 'lsit'
    f --dest; is "option without value" $rc 2
    f tniy; is "unknown name" $rc 2; said "unknown name" 'did you mean tiny'
    f qqqqqqqqqq; is "unknown name" $rc 2; not "no wild suggestion" grep -q 'did you mean' "$tmp/out"
    f --manifest "$real_manifest" fashon; said "a misspelt beginning" 'did you mean fashion-mnist'
    f --manifest "$real_manifest" CIFAR; said "a beginning" 'did you mean cifar10'
    f tiny:nosuch; is "unknown form" $rc 2; said "unknown form" 'full'
    f --mirror ftp://x/ tiny; is "mirror of another kind" $rc 2
    f --mirror "$tmp/nosuch" tiny; is "mirror that is not there" $rc 2
    f --manifest "$tmp/nosuch" tiny; is "no manifest" $rc 1
    printf 'a\tb\tc\n' >"$tmp/bad.tsv"; f --manifest "$tmp/bad.tsv" a; is "damaged manifest" $rc 1; said "damaged manifest" 'line 1'
    sed 's|tiny/images$|../x/y|;s|\ttiny/images\t|\t../../x\t|' "$tmp/manifest.tsv" >"$tmp/bad.tsv"
    f --manifest "$tmp/bad.tsv" tiny; is "a path that leaves the folder" $rc 1
    f --list; is "--list" $rc 0; said "--list" 'tiny .*no .*test licence of tiny'; said "--list" 'folderonly.*no address'
    f --list tiny; is "--list NAME" $rc 0; said "--list NAME" "$closed/tiny/images.gz"
    f --check tiny; is "--check of an absent set" $rc 3
    not "nothing was written" test -e "$tmp/d"
}

network_tests() { # $1: curl, wget
    fresh; official "$url/ok"
    f tiny zip treegz treexz raw; is "$1: plain fetch" $rc 0
    said "$1: the licence is told" 'test licence of tiny'
    same "$1" tiny/images "$tmp/d/tiny/images"; same "$1" tiny/labels "$tmp/d/tiny/labels"
    same "$1" zip/b/c.txt "$tmp/d/zip/b/c.txt"; same "$1" raw/file.bin "$tmp/d/raw/file.bin"
    same "$1" "treegz/tree/sub dir/two" "$tmp/d/treegz/tree/sub dir/two"; same "$1" treexz/tree/one "$tmp/d/treexz/tree/one"
    not "$1: only what the manifest names" test -e "$tmp/d/treegz/junk"
    left_clean "$1"
    n=$(requests); f tiny zip treegz treexz raw; is "$1: again" $rc 0; is "$1: nothing is fetched twice" "$(requests)" "$n"
    rm "$tmp/d/tiny/images"; f tiny; is "$1: an unpacked file is gone" $rc 0
    same "$1" tiny/images "$tmp/d/tiny/images"; is "$1: unpacked again without the network" "$(requests)" "$n"
    f --check; is "$1: --check" $rc 0
    printf x >>"$tmp/d/treegz/tree/one"; f --check treegz; is "$1: --check finds a change" $rc 4; said "$1: --check" 'has changed'
    f --check zip; is "$1: --check of a good set" $rc 0

    fresh; official "$url/cut/7000"
    f tiny; is "$1: resumes after cuts" $rc 0; same "$1" tiny/images "$tmp/d/tiny/images"
    yes "$1: it asked for the rest only" grep -q 'images.gz bytes=7000-' "$tmp/log"

    fresh; official "$url/ok"; mkdir -p "$tmp/d/.archives/tiny"
    head -c 11111 "$tmp/srv/tiny/images.gz" >"$tmp/d/.archives/tiny/images.gz.part"
    f tiny; is "$1: resumes an earlier run" $rc 0; yes "$1: range" grep -q 'bytes=11111-' "$tmp/log"; same "$1" tiny/images "$tmp/d/tiny/images"

    fresh; mkdir -p "$tmp/d/.archives/tiny"
    head -c 11111 /dev/zero >"$tmp/d/.archives/tiny/images.gz.part"
    f tiny; is "$1: a .part with a wrong beginning" $rc 0; same "$1" tiny/images "$tmp/d/tiny/images"

    fresh; official "$url/cutnr/7000"
    f tiny; is "$1: a server without ranges" $rc 0; same "$1" tiny/images "$tmp/d/tiny/images"

    fresh; official "$url/bad"
    f tiny; is "$1: wrong bytes" $rc 4; said "$1: wrong bytes" 'sha256 expected [0-9a-f]*, found [0-9a-f]*'
    yes "$1: kept as .bad" test -f "$tmp/d/.archives/tiny/images.gz.bad"
    not "$1: never used" test -e "$tmp/d/tiny/images"; left_clean "$1: wrong bytes"
    f raw; is "$1: wrong bytes, md5" $rc 4; said "$1: md5" 'md5 expected'
    official "$url/short"; f zip; is "$1: a page instead of the file" $rc 4; said "$1: page" 'bytes, found'
    awk -F '\t' -v OFS='\t' -v u="$url" '!/^#/ { $13 = u "/bad/" $3 " " u "/ok/" $3 } 1' "$tmp/manifest.in" >"$tmp/manifest.tsv"
    f tiny; is "$1: the second address helps" $rc 0; same "$1" tiny/images "$tmp/d/tiny/images"
    not "$1: no .bad is left after success" test -e "$tmp/d/.archives/tiny/images.gz.bad"

    fresh; official "$url/nowhere"
    f tiny; is "$1: 404" $rc 3; said "$1: 404" '404'; said "$1: 404" '--mirror DIR'
    fresh; official "$closed"
    t0=$(date +%s); f tiny forms; is "$1: no network" $rc 3; said "$1: no network" 'IPR_DATA=DIR'
    yes "$1: in bounded time" test $(($(date +%s) - t0)) -le 10
    fresh; official "http://no-such-host.invalid"
    IPR_DATA_TIMEOUT=2 f tiny; is "$1: no such host" $rc 3
}

folder_tests() {
    official "$closed"
    fresh; f --mirror "$tmp/srv" tiny treexz folderonly; is "mirror folder" $rc 0; same "mirror folder" tiny/images "$tmp/d/tiny/images"
    same "mirror folder" treexz/tree/one "$tmp/d/treexz/tree/one"; yes "mirror folder: a set with no address" test -f "$tmp/d/folderonly/x.bin"
    fresh; IPR_DATA_MIRROR=$tmp/srv f tiny; is "mirror folder by environment" $rc 0
    fresh; f --mirror "file://$tmp/srv" tiny; is "mirror folder by file://" $rc 0
    fresh; f --mirror "$url/ok/" tiny; is "mirror URL" $rc 0; yes "mirror URL was asked" grep -q '^/ok/tiny/images.gz -' "$tmp/log"
    fresh; IPR_DATA_MIRROR=$url/ok f folderonly; is "mirror URL by environment" $rc 0
    fresh; official "$url/ok"; f --mirror "$url/nowhere" tiny; is "a mirror that lacks it: the official address" $rc 0
    official "$closed"
    fresh; f folderonly; is "a set with no address" $rc 3; said "no address" 'missing: folderonly/x.bin'
    fresh; rm -rf "$tmp/ro"; cp -R "$tmp/srv" "$tmp/ro"; chmod -R a-w "$tmp/ro"
    find "$tmp/ro" | sort >"$tmp/before"
    IPR_DATA=$tmp/ro f tiny treegz raw; is "read-only IPR_DATA" $rc 0; same "IPR_DATA" tiny/images "$tmp/d/tiny/images"
    find "$tmp/ro" | sort | cmp -s - "$tmp/before"; is "IPR_DATA is left alone" $? 0
    is "no request" "$(requests)" 0
    old=$(ls -i "$tmp/d/tiny/images"); IPR_DATA=$tmp/ro f tiny treegz; is "unpacked once" "$(ls -i "$tmp/d/tiny/images")" "$old"
    said "unpacked once" 'already'
    f tiny; is "the result stands without IPR_DATA" $rc 0
    yes "the copy of a read-only file can be written" test -w "$tmp/d/raw/file.bin"
    fresh; mkdir "$tmp/cwd/data"; cp -R "$tmp/plain/tiny" "$tmp/cwd/data/"; f tiny; is "files in ./data, unpacked ones" $rc 0; same "./data" tiny/images "$tmp/d/tiny/images"
    fresh; IPR_DATA=$tmp/ro f forms; is "the official form comes first" $rc 0; yes "the official form" test -f "$tmp/d/forms/all"
    fresh; mkdir -p "$tmp/cwd/data/forms"; cp "$tmp/srv/forms/some.bin" "$tmp/cwd/data/forms/"
    f forms; is "a part at hand is used" $rc 0; said "a part at hand" "form 'part'"
    f forms:full; is "the full form is asked for" $rc 3
    fresh; f --unpack-only tiny; is "--unpack-only with nothing at hand" $rc 3; said "--unpack-only" 'missing: tiny/images.gz'
    fresh; f --mirror "$tmp/srv" --unpack-only tiny; is "--unpack-only" $rc 0
    chmod -R u+w "$tmp/ro"; printf 'X' | dd of="$tmp/ro/tiny/labels.gz" bs=1 seek=500 conv=notrunc 2>/dev/null
    fresh; IPR_DATA=$tmp/ro f tiny; is "a damaged file in IPR_DATA, no network" $rc 4; said "damaged" 'labels.gz is not used: sha256 expected'
    not "damaged: not unpacked" test -e "$tmp/d/tiny/labels"
    fresh; official "$url/ok"; IPR_DATA=$tmp/ro f tiny; is "a damaged file in IPR_DATA, network" $rc 0; same "damaged, fetched instead" tiny/labels "$tmp/d/tiny/labels"
    IPR_DATA=$tmp/ro f --check tiny; is "--check names the damaged file" $rc 4
    fresh; mkdir -p "$tmp/with space"; (cd "$tmp/cwd" && exec $SH "$fetch" --manifest "$tmp/manifest.tsv" --dest "$tmp/with space/d" tiny treegz) >"$tmp/out" 2>&1
    is "a folder name with a space" $? 0; same "with space" tiny/images "$tmp/with space/d/tiny/images"; rm -rf "$tmp/with space"
    fresh; (cd "$tmp/cwd" && exec $SH "$fetch" --manifest "$tmp/manifest.tsv" --dest here/d tiny zip treexz) >"$tmp/out" 2>&1
    is "a relative --dest" $? 0; same "relative" tiny/images "$tmp/cwd/here/d/tiny/images"; same "relative" zip/a.txt "$tmp/cwd/here/d/zip/a.txt"
}

trouble_tests() {
    official "$url/ok"
    fresh; path_without curl wget wget2; (PATH=$tmp/bin; f tiny; echo $rc >"$tmp/rc"); rc=$(cat "$tmp/rc")
    is "neither curl nor wget" "$rc" 6; said "neither curl nor wget" 'neither curl nor wget'
    (PATH=$tmp/bin; f --mirror "$tmp/srv" tiny; echo $rc >"$tmp/rc"); is "a folder needs neither" "$(cat "$tmp/rc")" 0
    fresh; path_without sha256sum shasum openssl; (PATH=$tmp/bin; f tiny; echo $rc >"$tmp/rc")
    is "no checksum program" "$(cat "$tmp/rc")" 6; said "no checksum program" 'SHA-256'
    for t in shasum openssl; do
        if ! command -v $t >/dev/null 2>&1; then skip "$t is not installed"; continue; fi
        fresh; case $t in shasum) path_without sha256sum openssl ;; *) path_without sha256sum shasum md5sum ;; esac
        (PATH=$tmp/bin; f tiny; echo $rc >"$tmp/rc"); is "checksums by $t" "$(cat "$tmp/rc")" 0
    done
    fresh; path_without unzip bsdtar python3; (PATH=$tmp/bin; f zip tiny; echo $rc >"$tmp/rc")
    if tar --version 2>/dev/null | grep -q bsdtar; then skip "no unzip: tar unpacks zip here"
    else is "no unzip" "$(cat "$tmp/rc")" 6; said "no unzip" 'unzip is not installed'; yes "the other set is fetched" test -f "$tmp/d/tiny/images"; fi
    fresh; path_without xz unzip bsdtar; (PATH=$tmp/bin; f treexz zip; echo $rc >"$tmp/rc")
    is "no xz, no unzip: python3 unpacks" "$(cat "$tmp/rc")" 0; same "python3" treexz/tree/one "$tmp/d/treexz/tree/one"

    fresh; : >"$tmp/d"; f tiny; is "the data folder is a file" $rc 5; said "the data folder is a file" 'cannot make the data folder'
    fresh; f --dest /proc/ipr_no_such/d tiny; is "no permission" $rc 5; said "no permission" '--dest DIR'
    # a disk that is full: a small file system of its own, where that can be had
    fresh; mkdir "$tmp/d"
    if mount -t tmpfs -o size=256k none "$tmp/d" 2>/dev/null; then
        f tiny; is "a small disk: what fits" $rc 0
        f big; is "a small disk: refused beforehand" $rc 5; said "disk full" 'has only [0-9]* kB free'
        path_without df; (PATH=$tmp/bin; f big; echo $rc >"$tmp/rc"); is "disk full while writing" "$(cat "$tmp/rc")" 5
        said "disk full while writing" 'disk is full'; not "disk full: not used" test -e "$tmp/d/big/f"; left_clean "disk full"
        umount "$tmp/d"
    else skip "disk full: no right to mount a small tmpfs"; fi

    # Ctrl-C in the middle: what was there stays; only a .part is left
    fresh; official "$url/ok"; f tiny; official "$url/slow"
    cp "$tmp/d/tiny/images" "$tmp/old"
    for sig in INT TERM; do
        (cd "$tmp/cwd" && exec python3 - "$sig" "$tmp" $SH "$fetch" --manifest "$tmp/manifest.tsv" --dest "$tmp/d" big) >"$tmp/out" 2>&1 <<'END'
import os, signal, subprocess, sys, time
sig, tmp = getattr(signal, "SIG" + sys.argv[1]), sys.argv[2]
def plain(): signal.signal(signal.SIGINT, signal.SIG_DFL)
part = tmp + "/d/.archives/big/f.gz.part"
def size(): return os.path.getsize(part) if os.path.exists(part) else 0
start = size()      # left by the signal before: wait until this run adds to it
p = subprocess.Popen(sys.argv[3:], preexec_fn=plain, stdin=subprocess.DEVNULL)
for _ in range(200):
    time.sleep(0.05)
    if size() > start + 1000: break
p.send_signal(sig)
t = time.time()
rc = p.wait(20)
print("took %.1f s" % (time.time() - t))
sys.exit(rc if time.time() - t < 5 else 99)
END
        rc=$?
        case $sig in INT) is "kill -INT" $rc 130 ;; *) is "kill -TERM" $rc 143 ;; esac
        yes "$sig: a .part is left" test -s "$tmp/d/.archives/big/f.gz.part"
        left_clean "$sig"
        yes "$sig: old data stays" cmp "$tmp/old" "$tmp/d/tiny/images"
        not "$sig: no half-made data" test -e "$tmp/d/big/f"
    done
    official "$url/ok"; f big; is "goes on after Ctrl-C" $rc 0; same "after Ctrl-C" big/f "$tmp/d/big/f"; said "goes on" 'resuming'

    # two at once: one waits, both succeed; a lock left by a killed one is no obstacle
    fresh; official "$url/ok"
    f tiny & two=$!
    (cd "$tmp/cwd" && exec $SH "$fetch" --manifest "$tmp/manifest.tsv" --dest "$tmp/d" tiny) >"$tmp/out2" 2>&1; is "two at once" $? 0
    wait $two; same "two at once" tiny/images "$tmp/d/tiny/images"
    fresh; mkdir -p "$tmp/d/.lock" "$tmp/d/.tmp.1/x"; (exit 0) & dead=$!; wait $dead; echo $dead >"$tmp/d/.lock/pid"
    f tiny; is "a stale lock" $rc 0; left_clean "a stale lock"
}

convert_tests() { # with a stand-in for ImageMagick: says what it was told, fails on pictures that begin with BAD
    convert=$(dirname "$fetch")/convert.sh
    rm -rf "$tmp/im" "$tmp/pic" "$tmp/ppm"
    mkdir -p "$tmp/im" "$tmp/pic/top/cat s" "$tmp/pic/top/dog" "$tmp/pic/top/empty"
    cat >"$tmp/im/magick" <<'END'
#!/bin/sh
echo "$*" >>"$IM_LOG"
first=$(head -c 3)
if [ "$first" = BAD ]; then echo 'magick: not a picture' >&2; exit 1; fi
if [ "$first" = ODD ]; then echo 'GIF89a'; exit 0; fi
printf 'P6\n1 1\n255\n%s' "$first"
END
    chmod +x "$tmp/im/magick"
    IM_LOG=$tmp/im.log; export IM_LOG; : >"$IM_LOG"
    printf 'abc1' >"$tmp/pic/top/cat s/1 [0].jpg"; printf 'def2' >"$tmp/pic/top/cat s/1 [0].PNG"; printf 'text' >"$tmp/pic/top/cat s/notes"
    printf 'ghi3' >"$tmp/pic/top/dog/%d.JPEG"; printf 'P5\n1 1\n255\nx' >"$tmp/pic/top/dog/own.pgm"
    v() { (cd "$tmp" && exec $SH "$convert" "$@") >"$tmp/out" 2>&1 </dev/null; rc=$?; }
    v --help; is "convert --help" $rc 0; said "convert --help" 'Exit codes'
    v; is "convert: no folders" $rc 2
    v --size; is "convert: --size alone" $rc 2
    v --size big pic ppm; is "convert: --size big" $rc 2; said "convert: --size big" "not 'big'"
    v --what pic ppm; is "convert: unknown option" $rc 2
    all=$PATH
    path_without; PATH=$tmp/bin v pic/top ppm; is "convert: no ImageMagick" $rc 6; said "convert: no ImageMagick" 'not installed'
    PATH=$tmp/im:$all
    v nowhere ppm; is "convert: no such folder" $rc 3
    v pic/top pic/top; is "convert: into itself" $rc 2
    v --skip dog pic/top ppm; is "convert: one class" $rc 0; said "convert: one class" 'ppm: 2 pictures converted, 0 were there, 0 cannot be converted, 1 other'
    is "convert: contents" "$(tail -n 1 "$tmp/ppm/cat s/1 [0].jpg.ppm")" abc
    is "convert: two kinds of one name" "$(tail -n 1 "$tmp/ppm/cat s/1 [0].PNG.ppm")" def
    not "convert: a skipped class" test -e "$tmp/ppm/dog"
    v --size 64 pic/top ppm; is "convert: goes on" $rc 0; said "convert: goes on" '2 pictures converted, 2 were there'
    yes "convert: a PGM is copied" cmp "$tmp/pic/top/dog/own.pgm" "$tmp/ppm/dog/own.pgm"
    yes "convert: the size is passed on" grep -q -e '-resize 64x64> -depth 8 ppm:-' "$IM_LOG"
    is "convert: only what was missing" "$(wc -l <"$IM_LOG" | tr -d ' ')" 3
    printf 'BAD' >"$tmp/pic/top/dog/a.jpg"; printf 'ODD' >"$tmp/pic/top/dog/b.jpg"; printf 'jkl' >"$tmp/pic/top/dog/c.jpg"
    v pic/top ppm; is "convert: bad pictures" $rc 1; said "convert: bad pictures" 'dog/a.jpg: magick: not a picture'; said "convert: bad pictures" 'dog/b.jpg: no PPM came out'
    yes "convert: the others are made" test -f "$tmp/ppm/dog/c.jpg.ppm"; not "convert: bad ones are not" test -e "$tmp/ppm/dog/a.jpg.ppm"
    rm "$tmp/pic/top/dog/a.jpg" "$tmp/pic/top/dog/b.jpg"
    (cd "$tmp/pic" && tar -cf ../pic.tar top); rm -rf "$tmp/ppm"
    v pic.tar ppm; is "convert: an archive" $rc 0; said "convert: an archive" '5 pictures converted'; yes "convert: an archive" test -f "$tmp/ppm/cat s/1 [0].jpg.ppm"
    printf 'no tar' >"$tmp/no.tar"; v no.tar ppm; is "convert: no archive" $rc 1; said "convert: no archive" 'tar cannot unpack'
    v pic/top/empty ppm; is "convert: no pictures" $rc 3; said "convert: no pictures" 'no pictures'
    mv "$tmp/im/magick" "$tmp/im/convert"; rm -rf "$tmp/ppm"
    v pic/top ppm; is "convert: the old name" $rc 0
    : >"$tmp/file"; v pic/top file/x; is "convert: cannot write" $rc 5
    is "convert: nothing left" "$(find "$tmp/ppm" -name '.tmp*' | wc -l | tr -d ' ')" 0
    PATH=$all
}

manifest_tests() { # the shipped manifest
    : >"$tmp/out"
    yes "the manifest is accepted" $SH "$fetch" --list
    is "addresses are http(s)" "$(awk -F '\t' '!/^#/ && $13 != "-" && $13 !~ /^https?:\/\/[^ ]+( https?:\/\/[^ ]+)*$/' "$real_manifest" | wc -l | tr -d ' ')" 0
    is "every path lies in the folder of its set" "$(awk -F '\t' '!/^#/ { split($3, p, "/"); s = $1; sub(/-train$/, "", s); if (p[1] != s) print }' "$real_manifest" | wc -l | tr -d ' ')" 0
}

shells=${FETCH_SH:-}
if [ -z "$shells" ]; then
    shells="sh"
    for s in dash bash busybox; do command -v $s >/dev/null 2>&1 && shells="$shells $s"; done
fi
all_path=$PATH
first=1
for s in $shells; do
    SH=$s
    [ "$s" != busybox ] || SH="busybox sh"
    if [ $first = 0 ] && cmp -s "$(command -v "$s")" "$(command -v sh)"; then continue; fi   # sh under its own name
    usage_tests
    for g in curl wget; do
        if ! command -v $g >/dev/null 2>&1; then skip "$g is not installed"; continue; fi
        case $g in curl) other=wget ;; *) other=curl ;; esac
        path_without $other; mv "$tmp/bin" "$tmp/bin_$g"
        PATH=$tmp/bin_$g network_tests $g
        PATH=$all_path
        rm -rf "$tmp/bin_$g"
        [ $first = 1 ] || break      # every shell with one downloader, the first with both
    done
    if [ $first = 1 ] && command -v busybox >/dev/null 2>&1 && busybox wget --help >/dev/null 2>&1; then
        path_without curl wget; rm -rf "$tmp/bin_bb"; mv "$tmp/bin" "$tmp/bin_bb"
        ln -s "$(command -v busybox)" "$tmp/bin_bb/wget"
        PATH=$tmp/bin_bb network_tests busybox-wget
        PATH=$all_path
        rm -rf "$tmp/bin_bb"
    fi
    if [ $first = 1 ]; then trouble_tests; manifest_tests; fi
    folder_tests
    convert_tests
    first=0
done

if [ $skipped -gt 0 ]; then echo "$passed passed, $failed failed, $skipped skipped"
else echo "$passed passed, $failed failed"; fi
[ $failed -eq 0 ]
