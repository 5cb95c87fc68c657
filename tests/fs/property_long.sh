#!/bin/bash
# TIMEOUT: 28800
# LONG: 1000 random databases of each engine, about two hours
# As property_ENGINE, with other seeds than these.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/property.bash
. "$(dirname "$0")/property.bash"

for engine in sqlite postgresql mysql mariadb; do
	(property "$engine" "${PROPERTY_SEEDS:-1001-2000}" --jobs 2 --all --without orphantrigger) || touch "$CASE_DIR/failed"
done
assert_gone "$CASE_DIR/failed"
