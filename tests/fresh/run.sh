#!/bin/sh
# An empty machine for real: make test-fresh [RELEASES="bookworm trixie"]. Needs root and debootstrap; not part of the continuous integration.
#
# Builds a minimal Debian (Python, its venv module, make and git; no compiler, fonts, graphics or locale), clones this repository's HEAD into it,
# and gives the README's commands there as a user whose home is read-only and whose umask is 077. Below FRESH (/tmp/ssmde_fresh) stay the
# systems and, beside each, its log. pip's settings in the environment (PIP_...) are taken along.
set -eu
fresh=${FRESH:-/tmp/ssmde_fresh}
source=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
commands=${COMMANDS:-"make tutorial PROFILE=smoke OPENCV=headless && make test"}

build() { # release: the system in $root, if it is not there yet
    [ -e "$root/etc/os-release" ] ||
        debootstrap --variant=minbase --include=python3,python3-venv,make,git,ca-certificates "$1" "$root" > "$root.debootstrap.log"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    [ -z "${PIP_CERT:-}" ] || install -D -m 644 "$PIP_CERT" "$root/$PIP_CERT"
    [ ! -d "${PIP_FIND_LINKS:-}" ] || { mkdir -p "$root/$PIP_FIND_LINKS" && cp -u "$PIP_FIND_LINKS"/* "$root/$PIP_FIND_LINKS"; }
    chroot "$root" id learner > /dev/null 2>&1 || chroot "$root" useradd --create-home learner
    chroot "$root" install -d -o learner -m 700 /work
    chmod 555 "$root/home/learner"
}

learn() { # give commands in the clone, as the user
    env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin HOME=/home/learner LC_ALL=C $(env | grep '^PIP_') \
        chroot --userspec=learner:learner "$root" sh -c "umask 077; cd /work/clone && $1"
}

for release in "$@"; do
    root=$fresh/$release
    mkdir -p "$root"
    build "$release"
    rm -rf "$root/work/clone"
    git clone --quiet --no-hardlinks "$source" "$root/work/clone"
    if [ -d "$source/../shared" ]; then cp -r "$source/../shared" "$root/work/" && chmod -R u+w "$root/work/shared"; fi
    chroot "$root" chown -R learner:learner /work
    mkdir -p "$root/dev/shm" && mount -t tmpfs -o mode=1777 shm "$root/dev/shm" # what processes share
    mount -t proc proc "$root/proc" && trap 'umount "$root/proc" "$root/dev/shm"' EXIT
    started=$(date +%s) failed=
    learn "$commands" > "$root.log" 2>&1 || failed=1
    umount "$root/proc" "$root/dev/shm" && trap - EXIT
    tail -n 5 "$root.log"
    echo "$release: ${failed:+FAILED }after $(($(date +%s) - started)) s: $commands ($root.log)"
    [ -z "$failed" ] || exit 1
done
