#!/bin/sh
# Puts promtool, which checks metrics and alert rules, into the folder $1, unless it is there. It comes in Debian's package
# prometheus, which would start a daemon that listens: the program alone is unpacked, nothing is installed.
set -eu
folder=$1
[ -e "$folder/promtool" ] && exit 0
rm -rf "$folder"
mkdir -p "$folder/apt/lists/partial" "$folder/apt/cache/archives/partial" "$folder/debs"
folder=$(cd "$folder" && pwd)
: >"$folder/apt/status"
# The machine's own sources, without a look at what it has installed.
cat >"$folder/apt/apt.conf" <<END
Dir::State "$folder/apt";
Dir::State::Lists "$folder/apt/lists";
Dir::State::status "$folder/apt/status";
Dir::Cache "$folder/apt/cache";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Retries "3";
APT::Sandbox::User "";
END
export APT_CONFIG="$folder/apt/apt.conf"
apt-get -qq update
cd "$folder/debs"
apt-get -qq download prometheus
dpkg-deb --fsys-tarfile ./*.deb | tar -x -f - ./usr/bin/promtool
# Last, so that half of it never counts.
mv usr/bin/promtool "$folder/promtool"
rm -rf "$folder/apt" "$folder/debs"
