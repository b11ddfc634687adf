#!/usr/bin/env bash
# Random configurations of dispatch and combine on one to four ranks, every output to the bit as the numpy reference has
# it. Prints its seed; a case that fails is made smaller. Needs Python and g++, as tests/run.sh does.
#
#   bash tests/properties.sh                      3,000 cases of a new seed: 2 minutes
#   bash tests/properties.sh --cases N --seed S   that seed again
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$repository/tests"  # not the repository: its ms_moe_comm is the source, not the package that was built
python -m properties.run "$@"
