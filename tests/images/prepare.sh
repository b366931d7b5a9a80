#!/bin/bash
# Install the Debian packages that building, testing and measuring need. Root only; asks apt only for what is missing.
# Usage: prepare.sh [build|images|test|batch|galaxy|bench|e2e]...    (none: all but e2e)
set -euo pipefail

build="gcc make libc6-dev python3 python3-venv"
images="debootstrap musl-tools golang-go busybox-static bash-static mount linux-libc-dev tcl"
test="strace clang libclang-rt-dev clang-format procps util-linux skopeo umoci podman squashfs-tools bindfs docker-registry apache2-utils openssl"
batch="munge slurmctld slurmd slurm-client gridengine-master gridengine-exec gridengine-client"
galaxy="g++ libsqlite3-dev"
bench="bubblewrap proot fakechroot charliecloud podman runc uidmap"
e2e="chromium gridengine-drmaa1.0"

wanted=""
for group in "${@:-all}"; do
    case $group in
    build | images | test | batch | galaxy | bench | e2e) wanted+=" ${!group}" ;;
    all) wanted+=" $build $images $test $batch $galaxy $bench" ;;
    *)
        echo "prepare.sh: no group named $group (build, images, test, batch, galaxy, bench, e2e)" >&2
        exit 2
        ;;
    esac
done

missing=()
for package in $wanted; do
    state=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    [[ $state == "install ok installed" ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

if ((EUID != 0)); then
    echo "prepare.sh: these packages are missing: ${missing[*]}" >&2
    echo "  (ask root to run: tests/images/prepare.sh)" >&2
    exit 1
fi
apt=(apt-get -q -o DPkg::Lock::Timeout=580 -o Dpkg::Use-Pty=0)
export DEBIAN_FRONTEND=noninteractive
# The lists of a fresh machine may be empty or old: refresh them only when apt does not know a package.
"${apt[@]}" install -y --no-install-recommends "${missing[@]}" && exit 0
"${apt[@]}" update
"${apt[@]}" install -y --no-install-recommends "${missing[@]}"
