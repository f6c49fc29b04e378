#!/bin/sh
# Puts MySQL 9 with all its libraries into the folder $1, unless it is there. Debian's releases have MariaDB only, so the
# packages come from Debian's development branch; they are unpacked beside the system, nothing is installed.
set -eu
folder=$1
[ -e "$folder/complete" ] && exit 0
rm -rf "$folder"
mkdir -p "$folder/apt/lists/partial" "$folder/apt/cache/archives/partial" "$folder/debs" "$folder/root"
folder=$(cd "$folder" && pwd)
: >"$folder/apt/status"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keys] http://deb.debian.org/debian sid main" >"$folder/apt/sources.list"
cat >"$folder/apt/apt.conf" <<END
Dir::State "$folder/apt";
Dir::State::Lists "$folder/apt/lists";
Dir::State::status "$folder/apt/status";
Dir::Cache "$folder/apt/cache";
Dir::Etc::SourceList "$folder/apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Retries "3";
APT::Sandbox::User "";
END
export APT_CONFIG="$folder/apt/apt.conf"
apt-get -qq update
depends="apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances"
packages=$($depends mysql-server-core | grep '^[a-z]' | grep -v perl | sort -u)
cd "$folder/debs"
# shellcheck disable=SC2086
apt-get -qq download $packages
for package in *.deb; do
    dpkg -x "$package" "$folder/root"
done
rm -rf "$folder/apt" "$folder/debs"
: >"$folder/complete"
