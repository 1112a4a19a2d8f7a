# shellcheck shell=sh
# What install.sh and upgrade.sh share: a release is a venv of its own below /opt/mdss/releases, and /opt/mdss/.venv points to the one that runs.
# PYTHON names the interpreter; MDSS_ROOT puts everything below another root, where the tests try this.

SOURCE=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
ROOT=${MDSS_ROOT:-}
OPT=$ROOT/opt/mdss
LIVE=$OPT/.venv
ETC=$ROOT/etc/mdss
UNITS=$ROOT/etc/systemd/system
PYTHON=${PYTHON:-python3}
umask 022 # the station's user reads what root installs

say() {
	echo "mdss: $*"
}

fail() {
	echo "mdss: $*" >&2
	exit 1
}

check_machine() {
	[ $# = 0 ] || fail "found the argument $1, expected none; what $0 does stands in deploy/README.md"
	[ "$(id -u)" = 0 ] || fail "found user $(id -un), expected root: sudo sh $0"
	[ -f "$SOURCE/pyproject.toml" ] || fail "found no pyproject.toml in $SOURCE, expected a checkout of the project"
	"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
		fail "$PYTHON is no Python >= 3.11; name one: PYTHON=/path/to/python3 sh $0"
}

# Sets RELEASE to a new venv with this checkout in it; one that fails half-way is removed and nothing else is touched.
build_release() {
	RELEASE=$OPT/releases/$(date -u +%Y%m%dT%H%M%SZ)-$$
	COPY=$(mktemp -d)
	trap 'rm -rf "$COPY" "$RELEASE"' EXIT
	trap 'exit 1' INT TERM HUP
	say "building $RELEASE, most of it torch; a few minutes"
	mkdir -p "$OPT/releases"
	"$PYTHON" -m venv "$RELEASE"
	# From a copy without earlier builds: a module that was deleted must not come back.
	tar -C "$SOURCE" -cf - --exclude=./.venv --exclude=./.git --exclude=./build --exclude=./out --exclude=./data --exclude=./models --exclude=./report --exclude=./keys --exclude=./config/station --exclude='*.egg-info' . | tar -C "$COPY" -xf -
	pip_install setuptools
	pip_install --no-build-isolation "$COPY"
	cp -R "$COPY/docs" "$COPY/deploy" "$COPY/config" "$RELEASE/"
	rm -rf "$COPY"
	trap 'rm -rf "$RELEASE"' EXIT
}

pip_install() {
	"$RELEASE/bin/python" -m pip --disable-pip-version-check install --quiet --constraint "$COPY/constraints.txt" --only-binary :all: "$@"
}

# The release is kept from here on.
keep_release() {
	trap - EXIT
}

# Ask the new release whether it would start with the station's settings, as the user that will run it.
check_settings() {
	runuser -u mdss -- "$RELEASE/bin/mdss" check "$ETC/station.yaml"
}

switch_to() {
	ln -sfn "$1" "$OPT/.venv.new"
	mv -T "$OPT/.venv.new" "$LIVE"
}

# Those that the release has: one to go back to may know others.
install_units() {
	mkdir -p "$UNITS"
	for unit in "$LIVE"/deploy/mdss*.service "$LIVE"/deploy/mdss*.timer; do
		install -m 0644 "$unit" "$UNITS/${unit##*/}"
	done
	systemctl daemon-reload
}

# Earlier releases had one training for one recipe. Not before the new one runs: who goes back wants them as they were.
remove_old_units() {
	for unit in mdss-retrain.timer mdss-retrain.service; do
		[ -e "$UNITS/$unit" ] || continue
		systemctl disable --now "$unit"
		rm -f "$UNITS/$unit"
		systemctl daemon-reload
		say "$unit is gone: enable mdss-retrain@RECIPE.timer for each recipe that is to be retrained"
	done
}

# All but the release that runs and the one before it.
remove_old_releases() {
	for release in "$OPT"/releases/*; do
		case $(readlink -f "$release") in
		"$(readlink -f "$1")" | "$(readlink -f "$2")") ;;
		*) rm -rf "$release" ;;
		esac
	done
}
