# SPDX-License-Identifier: Apache-2.0
# Sourced by tools/setup: the virtual environment .venv with every Python package.

# Prints the extras of setup.py that this machine needs.
extras() {
  echo sim train test docs speech
  if [ -z "$ros" ]; then echo ros; fi
  if [ -z "$ros" ] || ! command -v colcon >/dev/null; then echo build; fi
}

requirements() {
  # shellcheck disable=SC2046
  "$python" tools/requirements.py $(extras)
}

# Everything the environment depends on; with $root, because a virtual environment cannot be moved.
environment_digest() {
  { requirements; cat constraints.txt tools/patch_ros_wheels.py; echo "$root $ros"; "$python" -VV; "$python" -c 'import sys; print(sys.prefix)'; } | digest
}

# Makes a new .venv unless the one there is of this interpreter, this folder and this kind.
make_empty_environment() {
  local kind="false" options=""
  if [ -n "$ros" ]; then kind="true" options="--system-site-packages"; fi
  if grep -qs "^include-system-site-packages = $kind" .venv/pyvenv.cfg &&
    grep -qsF "$root/.venv" .venv/bin/activate &&
    [ "$(.venv/bin/python -c 'import sys; print(sys.prefix, sys.version)' 2>/dev/null)" = \
      "$("$python" -c 'import sys; print(sys.argv[1], sys.version)' "$root/.venv")" ]; then
    return 0
  fi
  say "virtual environment .venv with $("$python" -V)${ros:+ and the packages of ROS 2 $ros}"
  # shellcheck disable=SC2086
  "$python" -m venv --clear $options .venv
}

make_environment() {
  local wanted=$1 stamp=.venv/.stamp
  if stamped $stamp "$wanted"; then return 0; fi
  if [ -n "$ros" ] && ! "$python" -c 'import rclpy' 2>/dev/null; then
    fail "ROS 2 $ros is sourced, but $python cannot import its rclpy. Name the Python it was made for: PYTHON=/usr/bin/python3 make setup"
  fi
  make_empty_environment
  rm -f $stamp
  say "Python packages into .venv: the neural networks' libraries${ros:+, the simulation and the tests}$([ -n "$ros" ] || echo ", ROS 2, the simulation and the tests") (several GB; minutes the first time)"
  # What has no wheel for this Python is compiled against the very numpy that it will run with.
  .venv/bin/python -m pip install --disable-pip-version-check -c constraints.txt numpy setuptools
  requirements >.venv/requirements.txt
  .venv/bin/python -m pip install --disable-pip-version-check --no-build-isolation -c constraints.txt -r .venv/requirements.txt
  if [ -z "$ros" ]; then .venv/bin/python tools/patch_ros_wheels.py; fi
  echo "$wanted" >$stamp
}
