#!/bin/sh
# fetch.sh - download, verify and unpack the data sets named in manifest.tsv.
# POSIX sh: runs under dash, busybox sh, bash and the sh of macOS. See --help.

# shellcheck disable=SC2317  # reached through traps
set -u
LC_ALL=C
export LC_ALL

prog=fetch.sh
TAB=$(printf '\t')
here=$(cd "$(dirname "$0")" && pwd) || exit 1
top=$(dirname "$here")
pwd0=$(pwd)

if [ "$top" = "$pwd0" ]; then dest=build/data; else dest=$top/build/data; fi
manifest=${IPR_DATA_MANIFEST:-$here/manifest.tsv}
mirror=${IPR_DATA_MIRROR:-}
timeout=${IPR_DATA_TIMEOUT:-10}
mode=fetch
offline=0
names=

# ---------------------------------------------------------------- messages

usage() {
    cat <<END
usage: fetch.sh [options] [NAME...]        (default NAME: mnist)

Downloads data sets, verifies size and checksum, unpacks them into a data
folder. What is there already is not fetched again; a broken download is
resumed. NAME:FORM picks one form of a set (see --list NAME).

  --list [NAME...]   sets, sizes, licences, present or not; with NAMEs: files,
                     checksums and addresses, to fetch them by hand
  --check [NAME...]  verify again what is here; downloads and changes nothing
  --unpack-only      no network: use only files already at hand
  --mirror URL|DIR   look here first; same layout as "path" in the manifest
  --dest DIR         unpack into DIR (default: build/data of the project)
  --manifest FILE    another manifest
  --help             this text

Files at hand are looked for in \$IPR_DATA, ./data, the data folder itself and
a mirror folder; none of these is written to except the data folder.
Environment: IPR_DATA           a folder with data sets, may be read-only
             IPR_DATA_MIRROR    as --mirror
             IPR_DATA_MANIFEST  as --manifest
             IPR_DATA_TIMEOUT   seconds to wait for a server to answer (10)
Proxies: http_proxy, https_proxy, as curl and wget understand them.

Exit codes: 0 all there   1 manifest or other trouble    2 wrong usage
            3 could not be had (no network, 404, no such file)
            4 wrong size or checksum   5 cannot write (permission, disk full)
            6 a needed tool is missing   130 interrupted (143 terminated)
END
}

say()  { printf '%s\n' "$*"; }
err()  { printf '%s: %s\n' "$prog" "$*" >&2; }
die()  { die_rc=$1; shift; err "$*"; exit "$die_rc"; }

human() {
    case $1 in '' | -) printf '?'; return ;; esac
    awk -v b="$1" 'BEGIN{ if (b<1000) printf "%d B",b; else if (b<1e6) printf "%.0f kB",b/1e3; else printf "%.1f MB",b/1e6 }'
}

# ---------------------------------------------------------------- leaving

work=; stage=; locked=; child=; swap_old=; swap_to=

cleanup() {
    if [ -n "$child" ]; then kill "$child" 2>/dev/null; wait "$child" 2>/dev/null; child=; fi
    # between the two renames of an exchange: put the old one back
    if [ -n "$swap_old" ] && [ -e "$swap_old" ] && [ ! -e "$swap_to" ]; then mv "$swap_old" "$swap_to"; fi
    swap_old=
    if [ -n "$stage" ]; then rm -rf "$stage"; stage=; fi
    if [ -n "$locked" ]; then rm -rf "$locked"; locked=; fi
    if [ -n "$work" ]; then rm -rf "$work"; work=; fi
}
on_signal() {
    trap '' INT TERM HUP
    trap - EXIT
    cleanup
    case $1 in
        130) printf '\n' >&2; err "interrupted; run it again to go on from here" ;;
        *)   err "stopped" ;;
    esac
    exit "$1"
}
trap cleanup EXIT
trap 'on_signal 130' INT
trap 'on_signal 143' TERM
trap 'on_signal 129' HUP

# ---------------------------------------------------------------- options

need_arg() { [ "$2" -ge 2 ] || { err "$1 needs a value (see --help)"; exit 2; }; }

while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --list) mode=list ;;
        --check) mode=check ;;
        --unpack-only) offline=1 ;;
        --dest) need_arg "$1" $#; dest=$2; shift ;;
        --dest=*) dest=${1#*=} ;;
        --mirror) need_arg "$1" $#; mirror=$2; shift ;;
        --mirror=*) mirror=${1#*=} ;;
        --manifest) need_arg "$1" $#; manifest=$2; shift ;;
        --manifest=*) manifest=${1#*=} ;;
        --) shift; break ;;
        -*) err "unknown option $1 (see --help)"; exit 2 ;;
        *) names="$names $1" ;;
    esac
    shift
done
for n in "$@"; do names="$names $n"; done
case $names in *[*?[\\\'\"]*) err "a name has letters, digits, - and : only"; exit 2 ;; esac

[ -n "$dest" ] || die 2 "--dest needs a folder"
while :; do case $dest in ?*/) dest=${dest%/} ;; *) break ;; esac; done
case $dest in -*) dest=./$dest ;; esac
case $timeout in '' | *[!0-9]* | 0*) die 2 "IPR_DATA_TIMEOUT must be a whole number of seconds, 1 or more (it is '$timeout')" ;; esac
if [ ! -f "$manifest" ] || [ ! -r "$manifest" ]; then die 1 "cannot read the manifest $manifest"; fi

mirror_url=; mirror_dir=
case $mirror in
    '') ;;
    http://* | https://*) mirror_url=$mirror
        while :; do case $mirror_url in */) mirror_url=${mirror_url%/} ;; *) break ;; esac; done ;;
    file://*) mirror_dir=${mirror#file://}; mirror_dir=/${mirror_dir#*/} ;;
    *://*) die 2 "the mirror $mirror is neither http(s):// nor a folder" ;;
    *) mirror_dir=$mirror ;;
esac
[ -z "$mirror_dir" ] || [ -d "$mirror_dir" ] || die 2 "the mirror $mirror_dir is not a folder"
if [ -n "${IPR_DATA:-}" ] && [ ! -d "$IPR_DATA" ]; then
    err "note: IPR_DATA is $IPR_DATA, which is not a folder: left out"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/ipr_fetch.XXXXXX" 2>/dev/null) || { work=; die 5 "cannot make a temporary folder in ${TMPDIR:-/tmp}"; }
case $work in /*) ;; *) work=$pwd0/$work ;; esac

# ---------------------------------------------------------------- manifest

# checked row by row: what is below may trust every field
tr -d '\r' <"$manifest" | awk -F '\t' -v out="$work/m" '
    function bad(m) { printf "line %d: %s\n", NR, m; n++ }
    /^#/ || /^[ \t]*$/ { next }
    NF != 13 { bad("needs 13 columns, has " NF); next }
    { for (i = 1; i <= NF; i++) if ($i == "") bad("column " i " is empty (use -)")
      if ($1 !~ /^[A-Za-z0-9][A-Za-z0-9._-]*$/ || $2 !~ /^[A-Za-z0-9][A-Za-z0-9._-]*$/) bad("set or form name")
      k = split($3 "," $9, p, ",")
      for (i = 1; i <= k; i++) if (p[i] !~ /^[A-Za-z0-9_][A-Za-z0-9_.\/-]*$/ || p[i] ~ /(^|\/)\.\.?(\/|$)/ || p[i] !~ /\//) bad("path " p[i])
      if ($4 !~ /^([0-9]+|-)$/ || $10 !~ /^([0-9]+|-)$/) bad("bytes")
      if ($5 != "-" && (length($5) != 64 || $5 ~ /[^0-9a-f]/)) bad("sha256")
      if ($6 != "-" && (length($6) != 32 || $6 ~ /[^0-9a-f]/)) bad("md5")
      if ($11 != "-" && (length($11) != 64 || $11 ~ /[^0-9a-f]/)) bad("out_sha256")
      if ($5 == "-" && $6 == "-") bad("no checksum")
      if ($8 !~ /^(none|gunzip|unzip|tar)$/) bad("unpack " $8)
      if ($8 ~ /^(none|gunzip)$/ && $9 ~ /,/) bad("one file gives one file")
      if ($8 == "none" && $9 != $3) bad("unpack none: gives must be the path")
      print >out }
    END { exit n ? 1 : 0 }' >"$work/why" ||
    { sed "s|^|$manifest: |" "$work/why" >&2; die 1 "the manifest is damaged"; }
[ -s "$work/m" ] || die 1 "the manifest $manifest names no data set"

all_sets() { awk -F '\t' '!s[$1]++ { print $1 }' "$work/m"; }
forms_of() { awk -F '\t' -v s="$1" '$1 == s && !f[$2]++ { print $2 }' "$work/m"; }
rows_of()  { awk -F '\t' -v s="$1" -v f="$2" '$1 == s && $2 == f' "$work/m"; }
licence_of() { awk -F '\t' -v s="$1" '$1 == s { print $12; exit }' "$work/m"; }

nearest() {
    all_sets | awk -v w="$1" '
        function min(a, b) { return a < b ? a : b }
        { n = length(w); m = length($0)
          for (j = 0; j <= m; j++) d[0, j] = j
          for (i = 1; i <= n; i++) { d[i, 0] = i
              for (j = 1; j <= m; j++)
                  d[i, j] = min(min(d[i-1, j], d[i, j-1]) + 1, d[i-1, j-1] + (tolower(substr(w, i, 1)) != substr($0, j, 1))) }
          x = d[n, m]   # a beginning of the name counts nearly as the whole
          for (j = 1; j < m; j++) x = min(x, d[n, j] + 0.5)
          if (best == "" || x < score) { best = $0; score = x } }
        END { if (score <= 2.5 && score < length(w) - 1) print best }'
}

for n in $names; do
    s=${n%%:*}
    if ! all_sets | grep -qxF -e "$s"; then
        g=$(nearest "$s")
        [ -z "$g" ] || g="; did you mean $g?"
        err "no data set is called $s$g (fetch.sh --list shows all)"
        exit 2
    fi
    case $n in *:*)
        f=${n#*:}
        forms_of "$s" | grep -qxF -e "$f" || die 2 "$s has no form '$f'; it has: $(forms_of "$s" | tr '\n' ' ')" ;;
    esac
done

# ---------------------------------------------------------------- checksums

have() { command -v "$1" >/dev/null 2>&1; }

size_of() { if [ -f "$1" ]; then wc -c <"$1" | tr -d ' \t'; else echo 0; fi; }

hash_in() { # sha256|md5, of stdin
    case $1 in
        sha256)
            if have sha256sum; then sha256sum | cut -d ' ' -f 1
            elif have shasum; then shasum -a 256 | cut -d ' ' -f 1
            elif have openssl; then openssl dgst -sha256 -r | cut -d ' ' -f 1
            else return 6; fi ;;
        md5)
            if have md5sum; then md5sum | cut -d ' ' -f 1
            elif have md5; then md5 -q
            elif have openssl; then openssl dgst -md5 -r | cut -d ' ' -f 1
            else return 6; fi ;;
    esac
}
hash_of() { hash_in "$1" <"$2"; }

if ! have sha256sum && ! have shasum && ! have openssl && [ "$mode" != list ]; then
    die 6 "no program computes SHA-256 here: install coreutils (sha256sum), perl (shasum) or openssl"
fi

# verify FILE BYTES SHA256 MD5: 0 good; 4 not, with expected and found in $why
verify() {
    vf_n=$(size_of "$1")
    if [ "$2" != - ] && [ "$vf_n" != "$2" ]; then why="expected $2 bytes, found $vf_n"; return 4; fi
    if [ "$3" != - ]; then vf_k=sha256; vf_want=$3; else vf_k=md5; vf_want=$4; fi
    vf_got=$(hash_of $vf_k "$1" 2>/dev/null)
    if [ -z "$vf_got" ]; then
        if [ $vf_k = md5 ] && ! have md5sum && ! have md5 && ! have openssl; then
            why="no program computes MD5 here (md5sum, md5 or openssl)"; return 6
        fi
        why="it cannot be read"; return 4
    fi
    [ "$vf_got" = "$vf_want" ] && return 0
    why="$vf_k expected $vf_want, found $vf_got"
    return 4
}

# digest PATH: a sha256 of a file, or of all names and bytes below a folder
digest() {
    if [ -d "$1" ]; then
        (cd "$1" && find . -type f | sort >"$work/names" &&
            { cat "$work/names"; tr '\n' '\0' <"$work/names" | xargs -0 cat; }) | hash_in sha256
    else
        hash_of sha256 "$1"
    fi
}

# ---------------------------------------------------------------- what is here

: >"$work/roots"
add_root() { if [ -n "$1" ] && [ -d "$1" ] && ! grep -qxF -e "$1" "$work/roots"; then printf '%s\n' "$1" >>"$work/roots"; fi; }
add_root "${IPR_DATA:-}"
if [ "$top" != "$pwd0" ]; then add_root "$pwd0/data"; add_root "$top/data"; else add_root data; fi
add_root "$mirror_dir"
printf '%s\n' "$dest/.archives" "$dest" >>"$work/roots"

stamp_text() { # SET FORM: what a stamp must say to be valid
    rows_of "$1" "$2" | awk -F '\t' '{ print $3, $5, $6, $8, $9, $10 }'
}

# ready SET FORM: unpacked in the data folder, by its stamp or by content
ready() {
    rows_of "$1" "$2" >"$work/r_rows"
    r_stamp=$dest/.stamps/$1.$2
    while IFS="$TAB" read -r _ _ _ _ _ _ _ r_act r_gives r_ob _ _ _; do
        for g in $(printf '%s' "$r_gives" | tr ',' ' '); do
            [ -e "$dest/$g" ] || return 1
            case $r_act in none | gunzip)
                if [ "$r_ob" != - ] && [ "$(size_of "$dest/$g")" != "$r_ob" ]; then return 1; fi ;;
            esac
        done
    done <"$work/r_rows"
    if [ -f "$r_stamp" ] && stamp_text "$1" "$2" | cmp -s - "$r_stamp"; then return 0; fi
    [ "$mode" = list ] && awk -F '\t' '$11 == "-" { n = 1 } END { exit n }' "$work/r_rows" && return 0
    # no stamp: single files of known content need none
    while IFS="$TAB" read -r _ _ _ _ _ _ _ _ r_gives _ r_osha _ _; do
        [ "$r_osha" != - ] || return 1
        [ "$(hash_of sha256 "$dest/$r_gives")" = "$r_osha" ] || return 1
    done <"$work/r_rows"
    if [ "$mode" = fetch ]; then write_stamp "$1" "$2" 2>/dev/null || :; fi
    return 0
}

write_stamp() {
    mkdir -p "$dest/.stamps" || return 1
    rows_of "$1" "$2" | while IFS="$TAB" read -r _ _ _ _ _ _ _ _ w_gives _ w_osha _ _; do
        for g in $(printf '%s' "$w_gives" | tr ',' ' '); do
            if [ "$w_osha" != - ]; then w_d=$w_osha; else w_d=$(digest "$dest/$g"); fi
            printf '%s  %s\n' "$w_d" "$g"
        done
    done >"$dest/.stamps/$1.$2.sums" || return 1
    stamp_text "$1" "$2" >"$dest/.stamps/$1.$2.new" && mv "$dest/.stamps/$1.$2.new" "$dest/.stamps/$1.$2"
}

# at_hand PATH BYTES GIVES OUT_BYTES OUT_SHA: a file of that name and size lies in some root
at_hand() {
    while IFS= read -r ah_root; do
        if [ -f "$ah_root/$1" ]; then
            if [ "$2" = - ] || [ "$(size_of "$ah_root/$1")" = "$2" ]; then return 0; fi
        fi
        if [ "$5" != - ] && [ -f "$ah_root/$3" ] && [ "$(size_of "$ah_root/$3")" = "$4" ]; then return 0; fi
    done <"$work/roots"
    return 1
}

form_at_hand() {
    rows_of "$1" "$2" >"$work/h_rows"
    while IFS="$TAB" read -r _ _ h_path h_bytes _ _ _ _ h_gives h_ob h_osha _ _; do
        at_hand "$h_path" "$h_bytes" "$h_gives" "$h_ob" "$h_osha" || return 1
    done <"$work/h_rows"
    return 0
}

# ---------------------------------------------------------------- list, check

list_short() {
    printf '%-20s %10s  %-8s %s\n' NAME DOWNLOAD PRESENT LICENCE
    all_sets >"$work/l_sets"
    while IFS= read -r s; do
        l_state=no
        for f in $(forms_of "$s"); do
            if ready "$s" "$f"; then l_state=yes; break; fi
            if [ $l_state = no ] && form_at_hand "$s" "$f"; then l_state=packed; fi
        done
        l_f=$(forms_of "$s" | head -n 1)
        l_n=$(rows_of "$s" "$l_f" | awk -F '\t' '$4 == "-" { u = 1 } { n += $4 } END { if (u) print "-"; else printf "%.0f\n", n }')
        l_url=$(rows_of "$s" "$l_f" | awk -F '\t' '$13 == "-" { u = 1 } END { print u ? "  [no address: a folder or mirror only]" : "" }')
        printf '%-20s %10s  %-8s %s\n' "$s" "$(human "$l_n")" $l_state "$(licence_of "$s")$l_url"
    done <"$work/l_sets"
    say ""
    say "yes = ready in $dest; packed = files at hand, not unpacked yet. fetch.sh --list NAME shows files and addresses."
}

list_long() {
    for n in $names; do
        s=${n%%:*}
        say "$s   licence: $(licence_of "$s")"
        for f in $(forms_of "$s"); do
            l_state=absent
            if ready "$s" "$f"; then l_state="ready in $dest"
            elif form_at_hand "$s" "$f"; then l_state="files at hand, not unpacked"; fi
            say "  $s:$f   $l_state"
            rows_of "$s" "$f" | while IFS="$TAB" read -r _ _ p b sh md sum act gives _ _ _ urls; do
                say "    $p   ($b bytes)"
                if [ "$sh" != - ]; then say "      sha256 $sh ($sum)"; else say "      md5 $md ($sum)"; fi
                if [ "$act" != none ]; then say "      $act: $(printf '%s' "$gives" | sed 's/,/, /g')"; fi
                if [ "$urls" = - ]; then say "      no download address for this form"
                else for u in $urls; do say "      $u"; done; fi
            done
        done
    done
}

check_all() {
    c_rc=0
    c_named=$names
    [ -n "$names" ] || names=$(all_sets | tr '\n' ' ')
    for n in $names; do
        s=${n%%:*}; c_seen=0; c_ok=0; c_bad=0
        case $n in *:*) c_forms=${n#*:} ;; *) c_forms=$(forms_of "$s") ;; esac
        : >"$work/c_done"
        for f in $c_forms; do
            rows_of "$s" "$f" >"$work/c_rows"
            while IFS="$TAB" read -r _ _ p b sh md _ act gives ob osh _ _; do
                while IFS= read -r root; do
                    if [ -f "$root/$p" ] && ! grep -qxF -e "$root/$p" "$work/c_done"; then
                        printf '%s\n' "$root/$p" >>"$work/c_done"
                        c_seen=1
                        if verify "$root/$p" "$b" "$sh" "$md"; then c_ok=$((c_ok + 1))
                        else err "$s: $root/$p: $why"; c_bad=$((c_bad + 1)); fi
                    fi
                    if [ "$act" = gunzip ] && [ "$osh" != - ] && [ -f "$root/$gives" ] &&
                        ! grep -qxF -e "$root/$gives" "$work/c_done"; then
                        printf '%s\n' "$root/$gives" >>"$work/c_done"
                        c_seen=1
                        if verify "$root/$gives" "$ob" "$osh" -; then c_ok=$((c_ok + 1))
                        else err "$s: $root/$gives: $why"; c_bad=$((c_bad + 1)); fi
                    fi
                done <"$work/roots"
            done <"$work/c_rows"
            # unpacked archives, against the sums noted when they were unpacked
            if [ -f "$dest/.stamps/$s.$f.sums" ] && stamp_text "$s" "$f" | cmp -s - "$dest/.stamps/$s.$f"; then
                while read -r c_d g; do
                    grep -qxF -e "$dest/$g" "$work/c_done" && continue
                    printf '%s\n' "$dest/$g" >>"$work/c_done"
                    c_seen=1
                    if [ ! -e "$dest/$g" ]; then err "$s: $dest/$g is gone"; c_bad=$((c_bad + 1))
                    elif [ "$(digest "$dest/$g")" = "$c_d" ]; then c_ok=$((c_ok + 1))
                    else err "$s: $dest/$g has changed since it was unpacked"; c_bad=$((c_bad + 1)); fi
                done <"$dest/.stamps/$s.$f.sums"
            fi
        done
        if [ $c_seen = 0 ]; then
            if [ -n "$c_named" ]; then say "$n: absent"; [ $c_rc -ne 0 ] || c_rc=3; fi
        elif [ $c_bad -gt 0 ]; then say "$n: $c_bad bad, $c_ok good"; c_rc=4
        else say "$n: $c_ok good"; fi
    done
    return $c_rc
}

case $mode in
    list) if [ -n "$names" ]; then list_long; else list_short; fi; exit 0 ;;
    check) check_all; exit $? ;;
esac

# ---------------------------------------------------------------- download

tty=0
[ -t 2 ] && tty=1
getter=; no_T=
if have curl; then getter=curl
elif have wget; then
    if wget --version 2>/dev/null | grep -q 'GNU Wget'; then getter=wget; else getter=wget-small; fi
fi
: >"$work/dead"

free_kb() { df -Pk "$1" 2>/dev/null | awk 'NR == 2 { print $4 }'; }

# run in the background and wait, so that a signal is answered at once
run() {
    "$@" </dev/null &
    child=$!
    wait $child
    run_rc=$?
    child=
    return $run_rc
}

# get URL PART: 0 got; else $state is one of
#   dead (no such host, no connection)  gone (server says no)  cut (may go on)
#   norange (cannot resume)  write (local trouble); and $why says it
get() {
    state=; why=
    : >"$work/code"; : >"$work/err"
    g_resume=0; [ -s "$2" ] && g_resume=1
    case $getter in
        curl)
            set -- "$1" "$2" -fL --proto '=http,https' --connect-timeout "$timeout" --speed-limit 1 --speed-time 30 \
                -w '%{http_code}' -o "$2"
            g_url=$1; shift 2
            [ $g_resume = 0 ] || set -- "$@" -C -
            if [ $tty = 1 ]; then run curl --progress-bar "$@" "$g_url" >"$work/code"
            else run curl -sS "$@" "$g_url" >"$work/code" 2>"$work/err"; fi
            g_rc=$?
            g_code=$(cat "$work/code")
            case $g_rc in
                0) return 0 ;;
                5 | 6) state='dead'; why="host not found (no network?)" ;;
                7) state='dead'; why="no connection" ;;
                28) state='cut'; why="no answer in time"; [ "$g_code" != 000 ] || state='dead' ;;
                22) state='gone'; why="the server answered $g_code"; [ "$g_code" != 416 ] || state='norange' ;;
                33 | 36) state='norange'; why="the server cannot resume" ;;
                23) state='write'; why="cannot write the file" ;;
                35 | 51 | 58 | 59 | 60 | 77 | 80 | 83 | 90 | 91) state='dead'; why="no secure connection (curl exit $g_rc)" ;;
                18 | 52 | 55 | 56 | 92) state='cut'; why="the connection was cut" ;;
                *) state='cut'; why="curl exit $g_rc" ;;
            esac
            ;;
        wget)
            g_url=$1; g_part=$2
            set -- -t 1 --dns-timeout="$timeout" --connect-timeout="$timeout" --read-timeout=30 -O "$g_part"
            [ $g_resume = 0 ] || set -- -c "$@"
            if [ $tty = 1 ]; then run wget -q --show-progress "$@" "$g_url"
            else run wget -nv "$@" "$g_url" 2>"$work/err"; fi
            g_rc=$?
            case $g_rc in
                0) return 0 ;;
                3) state='write'; why="cannot write the file" ;;
                4) state='cut'; why="no connection, or it was cut"
                   if grep -Eqi 'resolve|failed:|refused|unreachable' "$work/err" || [ ! -s "$g_part" ]; then
                       state='dead'; why="no connection (no network?)"; fi ;;
                5) state='dead'; why="no secure connection" ;;
                8) state='gone'; why="the server refused it $(sed -n 's/.*\(ERROR [0-9]*\).*/(\1)/p' "$work/err" | head -n 1)"
                   if grep -Eq '416|Continued download failed' "$work/err" || { [ $tty = 1 ] && [ $g_resume = 1 ]; }; then state='norange'; fi ;;
                *) state='cut'; why="wget exit $g_rc"
                   if grep -q 'Continued download failed' "$work/err"; then state='norange'; fi ;;
            esac
            ;;
        wget-small)
            g_url=$1; g_part=$2
            set -- -q -O "$g_part"
            [ $g_resume = 0 ] || set -- -c "$@"
            if [ -z "$no_T" ]; then run wget -T "$timeout" "$@" "$g_url" 2>"$work/err"; else run wget "$@" "$g_url" 2>"$work/err"; fi
            g_rc=$?
            if [ $g_rc -gt 128 ] && [ -z "$no_T" ]; then
                # some builds of busybox crash on -T
                no_T=1
                run wget "$@" "$g_url" 2>"$work/err"
                g_rc=$?
            fi
            [ $g_rc = 0 ] && return 0
            state='cut'; why="the connection was cut"
            if grep -Eqi "bad address|can't connect|refused|unreachable" "$work/err"; then
                state='dead'; why="no connection (no network?)"
            elif grep -Eqi 'no space|write error|can.t open' "$work/err"; then
                state='write'; why="cannot write the file"
            elif grep -Eqi 'server returned error|HTTP/1.* [45][0-9][0-9]' "$work/err"; then
                state='gone'; why="the server refused it $(sed -n 's/.*\(HTTP\/1.*\)/(\1)/p' "$work/err" | head -n 1)"
                if [ $g_resume = 1 ]; then state='norange'; fi
            fi
            ;;
    esac
    return 1
}

host_of() { printf '%s' "$1" | sed 's|^[a-z]*://||; s|/.*||'; }

no_room() { # what went wrong, in a folder
    nr_kb=$(free_kb "$dest")
    err "$1: cannot write in $dest: permission, or the disk is full (${nr_kb:-?} kB free)"
}

# download NAME PATH BYTES SHA MD5 URLS -> $got; 0, or 3 4 5 6
download() {
    d_name=$1; d_path=$2; d_bytes=$3; d_sha=$4; d_md5=$5; d_urls=$6
    d_file=$dest/.archives/$d_path
    d_part=$d_file.part
    d_rc=3
    if [ -z "$getter" ]; then
        err "$d_name: neither curl nor wget is installed: install one, or put $d_path into a folder and pass --mirror DIR"
        return 6
    fi
    if ! mkdir -p "$(dirname "$d_file")" 2>"$work/err"; then err "$d_name: $(tail -n 1 "$work/err")"; return 5; fi
    if [ "$d_bytes" != - ]; then
        d_free=$(free_kb "$dest")
        d_need=$(( (d_bytes - $(size_of "$d_part")) / 1024 + 64 ))
        if [ -n "$d_free" ] && [ "$d_need" -gt "$d_free" ]; then
            err "$d_name: $d_path needs $d_need kB, but $dest has only $d_free kB free"
            return 5
        fi
    fi
    for u in $d_urls; do
        d_host=$(host_of "$u")
        if grep -qxF -e "$d_host" "$work/dead"; then continue; fi
        d_tries=0; d_clean=0; d_slow=0
        while :; do
            d_tries=$((d_tries + 1))
            d_before=$(size_of "$d_part")
            if [ "$d_bytes" != - ] && [ "$d_before" -gt "$d_bytes" ]; then rm -f "$d_part"; d_before=0; fi
            if [ "$d_bytes" != - ] && [ "$d_before" = "$d_bytes" ]; then d_ok=0   # complete, only not verified yet
            else
                if [ "$d_before" != 0 ]; then say "$d_name: resuming $d_path at $(human "$d_before")  ($d_host)"
                elif [ $d_tries = 1 ]; then say "$d_name: fetching $d_path, $(human "$d_bytes")  ($d_host)"; fi
                get "$u" "$d_part"; d_ok=$?
                [ -s "$d_part" ] || rm -f "$d_part"
            fi
            d_after=$(size_of "$d_part")
            if [ $d_ok = 0 ]; then
                if [ "$d_before" != 0 ] && [ "$d_bytes" != - ] && [ "$d_after" -lt "$d_bytes" ] && [ $d_clean = 0 ]; then
                    rm -f "$d_part"; d_clean=1; continue
                fi
                if [ -f "$d_part" ] && verify "$d_part" "$d_bytes" "$d_sha" "$d_md5"; then
                    mv -f "$d_part" "$d_file" || { no_room "$d_name"; return 5; }
                    rm -f "$d_file.bad"
                    got=$d_file
                    return 0
                fi
                [ -f "$d_part" ] || why="the server sent nothing"
                if [ "$d_before" != 0 ] && [ $d_clean = 0 ]; then
                    # a resumed file may have had a wrong beginning: once more, from nothing
                    say "$d_name: the resumed file is wrong ($why); once more from the start"
                    rm -f "$d_part"; d_clean=1; continue
                fi
                [ -f "$d_part" ] && mv -f "$d_part" "$d_file.bad"
                err "$d_name: WRONG FILE from $u: $why"
                err "$d_name: refused, kept as $d_file.bad"
                d_rc=4
                break
            fi
            case $state in
                write) no_room "$d_name"; return 5 ;;
                dead) err "$d_name: $d_host: $why"; printf '%s\n' "$d_host" >>"$work/dead"; break ;;
                gone) err "$d_name: $u: $why"; break ;;
                norange)
                    if [ "$d_before" != 0 ] && [ $d_clean = 0 ]; then
                        say "$d_name: $d_host cannot resume; from the start"
                        rm -f "$d_part"; d_clean=1; continue
                    fi
                    err "$d_name: $u: $why"; break ;;
                cut)
                    if [ "$d_after" -gt "$d_before" ]; then d_slow=0; else d_slow=$((d_slow + 1)); fi
                    if [ $d_slow -ge 2 ] || [ $d_tries -ge 100 ]; then
                        err "$d_name: $u: $why, again and again; what came is kept, run it again to go on"
                        break
                    fi
                    [ $d_slow = 0 ] || run sleep 1 ;;
            esac
        done
    done
    return $d_rc
}

# ---------------------------------------------------------------- unpack

# put NEW TARGET: rename into place; an old one is only removed when the new is there
put() {
    mkdir -p "$(dirname "$2")" || return 1
    if [ -e "$2" ]; then
        swap_to=$2
        swap_old=$stage/old
        mv "$2" "$swap_old" || { swap_old=; return 1; }
        if ! mv "$1" "$2"; then mv "$swap_old" "$2"; swap_old=; return 1; fi
        rm -rf "$swap_old"
        swap_old=
    else
        mv "$1" "$2"
    fi
}

# decompress | tar, with the decompressor's own exit status kept
untar_with() { # PROGRAM FILE DIR
    rm -f "$work/pipe_bad"
    { "$1" -dc "$2" || : >"$work/pipe_bad"; } | (cd "$3" && tar -xof -) || return 1
    [ ! -e "$work/pipe_bad" ]
}

expand() { # ACTION FILE DIR: 0, 1 failed, 6 no tool
    case $1 in
        tar)
            case $2 in
                *.gz | *.tgz) untar_with gzip "$2" "$3" ;;
                *.xz)
                    if have xz; then untar_with xz "$2" "$3"
                    elif have bsdtar; then bsdtar -xof "$2" -C "$3"
                    elif tar --version 2>/dev/null | grep -q bsdtar; then tar -xof "$2" -C "$3"
                    elif have python3; then python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$2" "$3"
                    else why="xz is not installed (package xz-utils, or xz)"; return 6; fi ;;
                *) tar -xof "$2" -C "$3" ;;
            esac ;;
        unzip)
            if have unzip; then unzip -q -o "$2" -d "$3" >/dev/null
            elif have bsdtar; then bsdtar -xof "$2" -C "$3"
            elif tar --version 2>/dev/null | grep -q bsdtar; then tar -xof "$2" -C "$3"
            elif have python3; then python3 -m zipfile -e "$2" "$3"
            else why="unzip is not installed (package unzip)"; return 6; fi ;;
    esac 2>"$work/err"
    x_rc=$?
    [ $x_rc = 0 ] || why=$(tail -n 1 "$work/err")
    return $x_rc
}

# unpack NAME FILE PATH ACTION GIVES OUT_SHA: 0, or 4 5 6
unpack() {
    p_name=$1; p_file=$2; p_path=$3; p_act=$4; p_gives=$5; p_osha=$6
    rm -rf "$stage/x"
    mkdir -p "$stage/x" 2>/dev/null || { no_room "$p_name"; return 5; }
    case $p_act in
        none)
            if [ "$p_file" = "$dest/$p_path" ]; then return 0; fi
            case $p_file in
                "$dest/.archives/"*) put "$p_file" "$dest/$p_path" || { no_room "$p_name"; return 5; } ;;
                *)
                    { cp "$p_file" "$stage/x/f" && chmod u+w "$stage/x/f" && put "$stage/x/f" "$dest/$p_path"; } 2>/dev/null ||
                        { no_room "$p_name"; return 5; } ;;
            esac
            ;;
        gunzip)
            have gzip || { err "$p_name: gzip is not installed"; return 6; }
            gzip -dc <"$p_file" 2>"$work/err" >"$stage/x/f" ||
                { err "$p_name: gunzip of $p_file failed: $(tail -n 1 "$work/err")"; no_room "$p_name"; return 5; }
            if [ "$p_osha" != - ] && [ "$(hash_of sha256 "$stage/x/f")" != "$p_osha" ]; then
                err "$p_name: $p_file unpacks to a wrong file"
                return 4
            fi
            put "$stage/x/f" "$dest/$p_gives" 2>/dev/null || { no_room "$p_name"; return 5; }
            ;;
        tar | unzip)
            p_in=$p_file
            case $p_in in /*) ;; *) p_in=$pwd0/$p_in ;; esac
            expand "$p_act" "$p_in" "$stage/x"
            case $? in
                0) ;;
                6) err "$p_name: cannot unpack $p_path: $why"; return 6 ;;
                *) err "$p_name: cannot unpack $p_path: ${why:-no reason given}"; no_room "$p_name"; return 5 ;;
            esac
            chmod -R u+rwX "$stage/x" 2>/dev/null || :
            p_dir=$(dirname "$p_path")
            for g in $(printf '%s' "$p_gives" | tr ',' ' '); do
                [ -e "$stage/x/${g#"$p_dir"/}" ] || { err "$p_name: $p_path does not hold ${g#"$p_dir"/}"; return 4; }
            done
            # forms of one set share folders: what was noted about another form no longer holds
            for g in "$dest/.stamps/$p_name".*; do rm -f "$g"; done
            for g in $(printf '%s' "$p_gives" | tr ',' ' '); do
                put "$stage/x/${g#"$p_dir"/}" "$dest/$g" 2>/dev/null || { no_room "$p_name"; return 5; }
            done
            ;;
    esac
    return 0
}

# ---------------------------------------------------------------- one set

# acquire from a folder -> $got, $got_kind (packed|out); notes wrong files in $wrong
from_folder() { # NAME PATH BYTES SHA MD5 GIVES OUT_BYTES OUT_SHA
    while IFS= read -r ff_root; do
        if [ -f "$ff_root/$2" ]; then
            verify "$ff_root/$2" "$3" "$4" "$5"
            ff_rc=$?
            if [ $ff_rc = 0 ]; then got=$ff_root/$2; got_kind=packed; return 0; fi
            if [ $ff_rc = 6 ]; then err "$1: $why"; return 6; fi
            err "$1: $ff_root/$2 is not used: $why"
            wrong=1
        fi
        if [ "$8" != - ] && [ "$2" != "$6" ] && [ -f "$ff_root/$6" ] && verify "$ff_root/$6" "$7" "$8" -; then
            got=$ff_root/$6; got_kind=out; return 0
        fi
    done <"$work/roots"
    return 1
}

# try_form SET FORM SOURCE(folder|mirror|official): 0, or 3 4 5 6
try_form() {
    rows_of "$1" "$2" >"$work/t_rows"
    t_need=$(awk -F '\t' '{ n += $10 == "-" ? 4 * $4 : $10 } END { printf "%.0f\n", n / 1024 }' "$work/t_rows")
    t_free=$(free_kb "$dest")
    if [ -n "$t_free" ] && [ "$t_need" -gt "$t_free" ]; then
        err "$1: unpacked it needs about $t_need kB, but $dest has only $t_free kB free"
        return 5
    fi
    while IFS="$TAB" read -r _ _ t_path t_bytes t_sha t_md5 _ t_act t_gives t_ob t_osha _ t_urls; do
        got=; got_kind=packed
        from_folder "$1" "$t_path" "$t_bytes" "$t_sha" "$t_md5" "$t_gives" "$t_ob" "$t_osha"
        t_rc=$?
        [ $t_rc != 6 ] || return 6
        if [ $t_rc != 0 ]; then
            case $3 in
                folder) return 3 ;;
                mirror) t_from=$mirror_url/$t_path ;;
                official) t_from=$t_urls; [ "$t_from" != - ] || return 3 ;;
            esac
            download "$1" "$t_path" "$t_bytes" "$t_sha" "$t_md5" "$t_from"
            t_rc=$?
            [ $t_rc = 0 ] || return $t_rc
        fi
        if [ $got_kind = out ]; then unpack "$1" "$got" "$t_gives" none "$t_gives" "$t_osha"
        else unpack "$1" "$got" "$t_path" "$t_act" "$t_gives" "$t_osha"; fi
        t_rc=$?
        [ $t_rc = 0 ] || return $t_rc
    done <"$work/t_rows"
    write_stamp "$1" "$2" 2>/dev/null || { no_room "$1"; return 5; }
    return 0
}

done_say() {
    say "$1: ready in $dest  (licence: $(licence_of "$1"))"
    ds_first=$(forms_of "$1" | head -n 1)
    if [ "$2" != "$ds_first" ]; then
        ds_url=$(rows_of "$1" "$ds_first" | awk -F '\t' '$13 == "-" { u = 1 } END { print u ? "" : "y" }')
        if [ -n "$ds_url" ]; then say "$1: this is the form '$2', found at hand; fetch.sh $1:$ds_first gets the official one"; fi
    fi
}

fetch_set() { # NAME or NAME:FORM
    s=${1%%:*}
    case $1 in *:*) s_forms=${1#*:} ;; *) s_forms=$(forms_of "$s") ;; esac
    for f in $s_forms; do
        if ready "$s" "$f"; then say "$s: already in $dest  (licence: $(licence_of "$s"))"; return 0; fi
    done
    wrong=0
    s_rc=3
    for f in $s_forms; do
        form_at_hand "$s" "$f" || continue
        say "$s: verifying and unpacking the files at hand"
        try_form "$s" "$f" folder
        s_rc=$?
        case $s_rc in
            0) done_say "$s" "$f"; return 0 ;;
            5 | 6) return $s_rc ;;
            4) wrong=1 ;;
        esac
    done
    if [ $offline = 1 ]; then
        if [ $wrong = 1 ]; then return 4; fi
        for f in $s_forms; do form_hint "$s" "$f"; done
        err "$s: not all of its files are at hand, and --unpack-only forbids fetching them"
        return 3
    fi
    if [ -n "$mirror_url" ]; then
        for f in $s_forms; do
            try_form "$s" "$f" mirror
            s_rc=$?
            case $s_rc in
                0) done_say "$s" "$f"; return 0 ;;
                5 | 6) return $s_rc ;;
                4) wrong=1 ;;
            esac
        done
    fi
    s_any=0
    for f in $s_forms; do
        if rows_of "$s" "$f" | awk -F '\t' '$13 == "-" { u = 1 } END { exit u }'; then
            s_any=1
            say "$s: licence: $(licence_of "$s")"
            try_form "$s" "$f" official
            s_rc=$?
            case $s_rc in
                0) done_say "$s" "$f"; return 0 ;;
                5 | 6) return $s_rc ;;
                4) wrong=1 ;;
            esac
        fi
    done
    if [ $wrong = 1 ]; then
        err "$s: NOT fetched: what came, or what lies in a folder, is not the file the manifest names (see above)"
        return 4
    fi
    if [ $s_any = 0 ]; then
        err "$s: no download address exists for this form; it can only come from a folder or a mirror:"
        for f in $s_forms; do form_hint "$s" "$f"; done
        err "  put them below a folder DIR and run: fetch.sh --mirror DIR $s   (or set IPR_DATA=DIR)"
    else
        err "$s: NOT fetched: none of its addresses gave it"
        err "  without a network: fetch the files listed by 'fetch.sh --list $s' elsewhere, put them"
        err "  below a folder DIR in the same layout, and run: fetch.sh --mirror DIR $s   (or set IPR_DATA=DIR)"
    fi
    return 3
}

form_hint() { # files of a form that are missing, briefly
    rows_of "$1" "$2" | while IFS="$TAB" read -r _ _ p b _ _ _ _ gives ob osh _ _; do
        at_hand "$p" "$b" "$gives" "$ob" "$osh" || err "  missing: $p ($b bytes)"
    done
}

# ---------------------------------------------------------------- main

[ -n "$names" ] || names=mnist

# nothing to do needs neither a lock nor a writable folder
todo=
for n in $names; do
    s=${n%%:*}
    case $n in *:*) m_forms=${n#*:} ;; *) m_forms=$(forms_of "$s") ;; esac
    m_ok=0
    for f in $m_forms; do if ready "$s" "$f"; then m_ok=1; break; fi; done
    if [ $m_ok = 1 ]; then say "$s: already in $dest  (licence: $(licence_of "$s"))"; else todo="$todo $n"; fi
done
[ -n "$todo" ] || exit 0

mkdir -p "$dest" 2>"$work/err" || die 5 "cannot make the data folder $dest: $(tail -n 1 "$work/err" | sed 's/.*: //'); choose another with --dest DIR"
m_waited=0
until mkdir "$dest/.lock" 2>"$work/err"; do
    [ -d "$dest/.lock" ] || die 5 "cannot write in $dest: $(tail -n 1 "$work/err" | sed 's/.*: //'); choose another with --dest DIR"
    m_pid=$(cat "$dest/.lock/pid" 2>/dev/null)
    if [ -n "$m_pid" ] && ! kill -0 "$m_pid" 2>/dev/null; then rm -rf "$dest/.lock"; continue; fi
    if [ -z "$m_pid" ] && [ $m_waited -ge 5 ]; then rm -rf "$dest/.lock"; continue; fi
    [ $m_waited != 0 ] || say "waiting for another fetch.sh (process ${m_pid:-?}) that uses $dest"
    m_waited=$((m_waited + 1))
    [ $m_waited -le 600 ] || die 1 "another fetch.sh still holds $dest/.lock; if none runs, remove that folder"
    run sleep 1
done
locked=$dest/.lock
echo $$ >"$locked/pid" || die 5 "cannot write in $dest"
stage=$dest/.tmp.$$
for d in "$dest"/.tmp.*; do
    # left by one that was killed outright
    if [ -d "$d" ]; then rm -rf "$d"; fi
done
mkdir -p "$stage" || die 5 "cannot write in $dest"

rc=0
for n in $todo; do
    fetch_set "$n"
    m_rc=$?
    [ $m_rc = 0 ] || [ $rc != 0 ] || rc=$m_rc
    rm -rf "$stage/x"
done
# no empty folders left behind
find "$dest/.archives" -depth -type d -exec rmdir {} \; 2>/dev/null || :
exit $rc
