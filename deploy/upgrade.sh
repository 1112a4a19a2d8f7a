#!/bin/sh
# Replaces the installed release by this checkout. State and settings stay; where the new release refuses the settings or does not
# come up, the old one stays or comes back, and this ends with 1.
set -eu
. "$(dirname -- "$0")/release.sh"

check_machine
[ -L "$LIVE" ] || fail "found no $LIVE, expected an installed station; run deploy/install.sh"
BEFORE=$(readlink -f "$LIVE")
build_release
check_settings || fail "the new release refuses $ETC/station.yaml (above); $BEFORE stays"
keep_release
switch_to "$RELEASE"
install_units
if systemctl --quiet is-enabled mdss || systemctl --quiet is-active mdss; then
	if ! systemctl restart mdss; then
		switch_to "$BEFORE"
		install_units
		rm -rf "$RELEASE"
		systemctl restart mdss || say "the old release does not start either: journalctl -u mdss"
		fail "the new release did not start; $BEFORE is back, see journalctl -u mdss"
	fi
fi
remove_old_units
remove_old_releases "$RELEASE" "$BEFORE"
say "$RELEASE runs; $BEFORE is kept"
