#!/bin/sh
# Installs the station from this checkout and does not start it. Running it again does no harm. deploy/README.md has the same steps by hand.
set -eu
. "$(dirname -- "$0")/release.sh"

STATE=$ROOT/var/lib/mdss

check_machine "$@"
install -D -m 0644 "$SOURCE/deploy/mdss.sysusers.conf" "$ROOT/etc/sysusers.d/mdss.conf"
systemd-sysusers "$ROOT/etc/sysusers.d/mdss.conf"
install -d -m 0750 -g mdss "$ETC"
install -d -m 0750 -o mdss -g mdss "$STATE"
# Run this as the station's user: through a link that this user has put there, root would give away a folder of its own.
runuser -u mdss -- mkdir -p -m 0750 "$STATE/models"
for name in station.yaml retrain.env; do
	case $name in
	station.yaml) example=$SOURCE/config/station.example.yaml ;;
	*) example=$SOURCE/deploy/retrain.env ;;
	esac
	# Never overwrite what an engineer has written.
	[ -e "$ETC/$name" ] || install -m 0640 -g mdss "$example" "$ETC/$name"
done
if [ -L "$LIVE" ]; then
	say "$(readlink "$LIVE") is already installed and stays. To install a newer checkout, run deploy/upgrade.sh"
else
	build_release
	keep_release
	switch_to "$RELEASE"
fi
install_units
say "installed. Next: edit $ETC/station.yaml, put a model into $STATE/models, then"
say "  sudo -u mdss $LIVE/bin/mdss check $ETC/station.yaml && sudo systemctl enable --now mdss"
