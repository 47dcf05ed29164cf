#!/bin/sh
# reproduce.sh EXP QUICK SEEDS DATA - run one experiment; called by `make reproduce`.
set -u
cd "$(dirname "$0")/.." || exit 1
exp=$1 quick=$2 seeds=$3 data=$4
[ -z "$data" ] || { IPR_DATA=$data; export IPR_DATA; }
args=
[ -z "$quick" ] || [ "$quick" = 0 ] || args="$args --quick"
[ -z "$seeds" ] || args="$args --seeds $seeds"
case $exp in
gatekeeper-seqmnist)
    sh data_fetch/fetch.sh mnist fashion-mnist || echo "Going on with what is here." >&2
    "${MAKE:-make}" --no-print-directory build/gatekeeper_seqmnist || exit 1
    # shellcheck disable=SC2086  # a list of words
    exec ./build/gatekeeper_seqmnist $args ;;
gatekeeper-trec6)
    sh data_fetch/fetch.sh trec || echo "Going on with what is here." >&2
    "${MAKE:-make}" --no-print-directory build/gatekeeper_trec6 || exit 1
    # shellcheck disable=SC2086  # a list of words
    exec ./build/gatekeeper_trec6 $args ;;
gatekeeper-translate)
    sh data_fetch/fetch.sh multi30k || echo "Going on with what is here." >&2
    "${MAKE:-make}" --no-print-directory build/gatekeeper_translate || exit 1
    # shellcheck disable=SC2086  # a list of words
    exec ./build/gatekeeper_translate $args ;;
text-triggers-imdb|text-triggers-sst5)
    set=${exp#text-triggers-}
    sh data_fetch/fetch.sh "$set" 20news || echo "Going on with what is here." >&2
    "${MAKE:-make}" --no-print-directory build/text_triggers || exit 1
    # shellcheck disable=SC2086  # a list of words
    exec ./build/text_triggers --data "$set" $args ;;
passports-cifar10|passports-attacks|baselines-ambiguity)
    program=$(printf '%s' "$exp" | tr - _)
    sh data_fetch/fetch.sh cifar10 gtsrb32 || echo "Going on with what is here." >&2
    "${MAKE:-make}" --no-print-directory "build/$program" || exit 1
    # shellcheck disable=SC2086  # a list of words
    exec "./build/$program" $args ;;
dsn-mnist|dsn-gtsrb)
    set=${exp#dsn-}
    files=$set
    [ "$set" = gtsrb ] && files=gtsrb32
    sh data_fetch/fetch.sh "$files" || echo "Going on with what is here." >&2
    "${MAKE:-make}" --no-print-directory build/serial_numbers || exit 1
    # shellcheck disable=SC2086  # a list of words
    exec ./build/serial_numbers --data "$set" $args ;;
keynet-fmnist5|keynet-cifar10|zoo)
    echo "$exp: not built yet" >&2
    exit 1 ;;
'')
    echo "usage: make reproduce EXP=name [QUICK=1] [SEEDS=n] [DATA=folder]" >&2
    echo "names: gatekeeper-seqmnist gatekeeper-trec6 gatekeeper-translate text-triggers-imdb text-triggers-sst5 passports-cifar10 passports-attacks baselines-ambiguity dsn-mnist dsn-gtsrb" >&2
    exit 2 ;;
*)
    echo "$exp: no such experiment; names: gatekeeper-seqmnist gatekeeper-trec6 gatekeeper-translate text-triggers-imdb text-triggers-sst5 passports-cifar10 passports-attacks baselines-ambiguity dsn-mnist dsn-gtsrb" >&2
    exit 2 ;;
esac
