#!/bin/bash
# Snapshot, copy out, lose everything, copy in: on mariadb, with more than 50,000 rows of OpenMetadata's shape
# (METASNAP_ROWS: so many instead; the run with sanitizers takes fewer).
# TIMEOUT: 300
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/roundtrip.bash"
roundtrip mariadb "${METASNAP_ROWS:-50500}"
