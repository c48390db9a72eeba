#!/bin/sh
# Downloads Debian's kernel and unpacks what package vm boots into the user's cache:
#   RELEASE/vmlinux              the kernel, unpacked: that halves the time of a boot
#   RELEASE/lib/modules/RELEASE  its modules for networks and watchdogs, with their index
# It installs nothing, needs no root, and does nothing when the newest one is there.
set -eu

newest() { apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-.*\)$/\1/p' | head -n 1; }
package=$(newest)
if [ -z "$package" ]; then # no lists: as root they can be had
  apt-get update -q >&2
  package=$(newest)
fi
[ -n "$package" ] || { echo "kernel.sh: apt knows no linux-image-amd64" >&2; exit 1; }
release=${package#linux-image-}
release=${release%-unsigned}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/solovip/vm
if [ -e "$cache/$release/vmlinux" ]; then
  echo "deps: kernel $release is in $cache"
  exit 0
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/unpacking.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
# Lists that are too old name a package that is no longer there.
apt-get download -q "$package" || { apt-get update -q && apt-get download -q "$package"; }
dpkg --fsys-tarfile "$package"_*.deb | tar -x --wildcards --no-wildcards-match-slash \
  './boot/vmlinuz-*' './lib/modules/*/modules.*' './lib/modules/*/kernel/net' './lib/modules/*/kernel/lib' \
  './lib/modules/*/kernel/crypto' './lib/modules/*/kernel/arch' './lib/modules/*/kernel/drivers/watchdog' \
  './lib/modules/*/kernel/drivers/net/*.ko'
depmod -b "$work" "$release"

# The kernel is packed twice, as a bzImage and in it by xz. Boot protocol, offsets 0x1f1
# (sectors before the code), 0x248 and 0x24c (where in the code the payload is).
image=boot/vmlinuz-$release
number() { od -A n -t "u$2" -j "$1" -N "$2" "$image" | tr -d ' '; }
start=$((($(number 497 1) + 1) * 512 + $(number 584 4)))
tail -c "+$((start + 1))" "$image" | head -c "$(number 588 4)" | xz -dc --single-stream >unpacked

mkdir "$release"
mv lib "$release/"
mv unpacked "$release/vmlinux"
rm -rf "${cache:?}/$release"
mv "$release" "$cache/"
echo "deps: kernel $release is now in $cache"
