#!/usr/bin/env bash
# Installs the Debian packages that building and running PAI on this host
# needs, if any is missing. Quiet and without network when none is.
set -euo pipefail

packages=(
  ca-certificates    # https to the Go module proxy
  gcc libc6-dev      # runc is the one program built with cgo
  libseccomp-dev     #   and uses libseccomp
  pkg-config         #   which it finds with this
  busybox-static     # the shell in the example job's image
  systemd-container  # local machines: systemd-nspawn
  debootstrap debian-archive-keyring  # local machines: their root file system
  iproute2 nftables  # local machines: their network
  openssh-server     # the tests of the ssh path start one on loopback
  procps             # ps, in the tests
  nodejs             # OpenPAI's JavaScript SDK, whose API suite is a test
  chromium fonts-liberation  # the tests of the portal's page
  postgresql-15      # the tests of the history of jobs start a server
)
# Some packages of Node.js bring npm; that of Debian does not.
command -v npm >/dev/null || packages+=(npm)

missing=()
for package in "${packages[@]}"; do
  if [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) != installed ]]; then
    missing+=("$package")
  fi
done
if ((${#missing[@]} == 0)); then
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  as_root=(sudo)
fi
echo "installing Debian packages: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for command in "update" "install --yes --no-install-recommends ${missing[*]}"; do
  # shellcheck disable=SC2086 # the command's words are words
  if ! "${as_root[@]}" apt-get -q -o DPkg::Lock::Timeout=300 $command >"$log" 2>&1; then
    cat "$log" >&2
    echo "apt-get $command failed (above)" >&2
    exit 1
  fi
done
