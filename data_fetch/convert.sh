#!/bin/sh
# convert.sh - pictures in class folders (JPEG, PNG and others) become PPM, which ipr_dataset_images reads.
# Uses ImageMagick (magick or convert). POSIX sh. See --help.

set -u
LC_ALL=C
export LC_ALL
prog=convert.sh

usage() {
    cat <<END
usage: convert.sh [--size N] [--skip CLASS]... FROM TO

FROM is a folder with one folder a class, or a tar archive of one. Every picture
FROM/CLASS/NAME.jpg becomes TO/CLASS/NAME.jpg.ppm; PPM and PGM files are copied,
other files are left out. What is in TO already is not made again, so a stopped run goes
on where it was. Needs ImageMagick.

  --size N       shrink to at most N pixels a side, the shape kept (default: as it is)
  --skip CLASS   leave this folder out; may be repeated
  --help         this text

Example: make data NAMES=caltech101, then
  data_fetch/convert.sh --size 64 --skip BACKGROUND_Google \\
      build/data/caltech101/caltech-101/101_ObjectCategories.tar.gz build/data/caltech101-ppm

Exit codes: 0 done   1 some pictures cannot be converted   2 wrong usage
            3 no pictures there   5 cannot write   6 a needed tool is missing
END
}
err() { printf '%s: %s\n' "$prog" "$*" >&2; }
die() { die_rc=$1; shift; err "$*"; exit "$die_rc"; }

size='' skip=/
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --size | --skip) [ $# -ge 2 ] || die 2 "$1 needs a value (see --help)"
            if [ "$1" = --size ]; then size=$2; else skip=$skip$2/; fi
            shift ;;
        --) shift; break ;;
        -*) die 2 "unknown option $1 (see --help)" ;;
        *) break ;;
    esac
    shift
done
[ $# -eq 2 ] || die 2 "needs FROM and TO (see --help)"
from=$1 to=$2
case $size in *[!0-9]* | 0*) die 2 "--size needs a whole number of pixels, not '$size'" ;; esac
case $from in -*) from=./$from ;; esac
case $to in -*) to=./$to ;; esac
[ -e "$from" ] || die 3 "$from: there is no such file or folder"
if command -v magick >/dev/null 2>&1; then tool=magick
elif command -v convert >/dev/null 2>&1; then tool=convert
else die 6 "ImageMagick is not installed (neither magick nor convert is there)"; fi
mkdir -p "$to" 2>/dev/null || die 5 "cannot make the folder $to"
if [ -d "$from" ] && [ "$(cd "$from" && pwd -P)" = "$(cd "$to" && pwd -P)" ]; then die 2 "FROM and TO are the same folder"; fi

tmp=$to/.tmp.$$
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir "$tmp" 2>/dev/null || die 5 "cannot write into $to"

if [ -f "$from" ]; then
    mkdir "$tmp/x"
    tar -xf "$from" -C "$tmp/x" 2>"$tmp/why" || die 1 "$from: tar cannot unpack it: $(tail -n 1 "$tmp/why")"
    from=$tmp/x
    while :; do     # the folder that holds the classes, not those around it
        set -- "$from"/*
        if [ $# -eq 1 ] && [ -d "$1" ]; then
            inside=no
            for d in "$1"/*; do if [ -d "$d" ]; then inside=yes; fi; done
            if [ $inside = yes ]; then from=$1; continue; fi
        fi
        break
    done
fi

# one FILE OUT: to PPM, by way of a temporary name. The file goes in by stdin: a name can mean something to ImageMagick.
one() {
    case $1 in
        *.[pP][pPgG][mM] | *.[pP][nN][mM]) cat <"$1" >"$tmp/out" || return 5 ;;
        *)
            set -- "$1" "$2" '-[0]' -auto-orient -background white -alpha remove -colorspace sRGB
            [ -z "$size" ] || set -- "$@" -resize "${size}x$size>"
            in=$1 out=$2
            shift 2
            $tool "$@" -depth 8 ppm:- <"$in" >"$tmp/out" 2>"$tmp/why" || return 1
            case $(head -c 2 "$tmp/out" 2>/dev/null) in P6 | P5) ;; *) echo 'no PPM came out' >"$tmp/why"; return 1 ;; esac
            set -- "$in" "$out"
            ;;
    esac
    mv "$tmp/out" "$2" 2>/dev/null || return 5
}

made=0 there=0 bad=0 other=0
for class in "$from"/*; do
    [ -d "$class" ] || continue
    name=${class##*/}
    case $skip in */"$name"/*) continue ;; esac
    for file in "$class"/*; do
        [ -f "$file" ] || continue
        base=${file##*/}
        out=$to/$name/$base
        case $base in
            *.[pP][pPgG][mM] | *.[pP][nN][mM]) ;;
            *.[jJ][pP][gG] | *.[jJ][pP][eE][gG] | *.[pP][nN][gG] | *.[gG][iI][fF] | *.[bB][mM][pP] | *.[wW][eE][bB][pP] | *.[tT][iI][fF] | *.[tT][iI][fF][fF]) out=$out.ppm ;;
            *) other=$((other + 1)); continue ;;
        esac
        if [ -f "$out" ]; then there=$((there + 1)); continue; fi
        mkdir -p "$to/$name" 2>/dev/null || die 5 "cannot make the folder $to/$name"
        one "$file" "$out"
        case $? in
            0) made=$((made + 1)) ;;
            5) die 5 "cannot write $out: is the disk full?" ;;
            *) bad=$((bad + 1)); err "$file: $(tail -n 1 "$tmp/why" | cut -c 1-200)" ;;
        esac
    done
done
printf '%s: %d pictures converted, %d were there, %d cannot be converted, %d other files left out\n' "$to" $made $there $bad $other
[ $bad -eq 0 ] || exit 1
[ $((made + there)) -gt 0 ] || die 3 "$from: no pictures in folders of classes there"
