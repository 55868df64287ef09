# SPDX-License-Identifier: Apache-2.0
# Sourced by tools/setup: the virtual environment .venv with every Python package.

# Every extra that a target may ask for.
all_extras="console docs edgetam fleet pointing sim speech test train"

# Prints extras of setup.py: those given, and what this machine needs in any case.
extras() {
  echo "$@"
  if [ -z "$ros" ]; then echo ros; fi
  if [ -z "$ros" ] || ! command -v colcon >/dev/null; then echo build; fi
}

# Prints the requirements of the package with the extras given.
requirements() {
  # shellcheck disable=SC2046
  "$python" tools/requirements.py $(extras "$@")
}

# Whether torch may find a GPU of NVIDIA's here.
has_gpu() {
  command -v nvidia-smi >/dev/null || [ -e /dev/nvidiactl ]
}

# triton compiles programs for GPUs: torch's CUDA build asks for it, a CPU never imports it, and it takes 1 GB. The
# environment of the tests keeps it, since docs/licences.md is made from that.
remove_unused() {
  case " $* " in *" test "*) return 0 ;; esac
  if has_gpu; then return 0; fi
  .venv/bin/python -m pip uninstall --disable-pip-version-check --quiet --yes triton
}

# Everything the environment depends on, whichever extras are in it; with $root, because a virtual environment cannot be
# moved.
environment_digest() {
  # shellcheck disable=SC2086
  { requirements $all_extras; cat constraints.txt tools/patch_ros_wheels.py; echo "$root $ros $(has_gpu && echo GPU)"; "$python" -VV; "$python" -c 'import sys; print(sys.prefix)'; } | digest
}

# Prints the extras of $2... that .venv lacks. Its stamp has the digest of the environment in the first line and an extra in
# each other one; another digest makes all extras of the stamp void.
missing_extras() {
  local digest=$1 extra
  shift
  for extra in "$@"; do
    if [ "$(head -n 1 .venv/.stamp 2>/dev/null)" != "$digest" ] || ! grep -qx "$extra" .venv/.stamp; then echo "$extra"; fi
  done
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

# Installs the extras $2... where they are missing; $1 is the environment's digest.
make_environment() {
  local wanted=$1 stamp=.venv/.stamp kept="" missing
  shift
  missing=$(missing_extras "$wanted" "$@" | tr '\n' ' ')
  if [ -z "$missing" ]; then return 0; fi
  if [ -n "$ros" ] && ! "$python" -c 'import rclpy' 2>/dev/null; then
    fail "ROS 2 $ros is sourced, but $python cannot import its rclpy. Name the Python it was made for: PYTHON=/usr/bin/python3 make setup"
  fi
  if [ "$(head -n 1 $stamp 2>/dev/null)" = "$wanted" ]; then kept=$(tail -n +2 $stamp); fi
  make_empty_environment
  rm -f $stamp
  say "Python packages into .venv: the neural networks' libraries$([ -n "$ros" ] || echo ", ROS 2") and ${missing% } (several GB; minutes the first time)"
  # What has no wheel for this Python is compiled against the very numpy that it will run with.
  .venv/bin/python -m pip install --disable-pip-version-check -c constraints.txt numpy setuptools
  # shellcheck disable=SC2086
  requirements $kept "$@" >.venv/requirements.txt
  # Python compiles what is imported anyway; all of it would be 150 MB and half a minute.
  .venv/bin/python -m pip install --disable-pip-version-check --no-compile --no-build-isolation -c constraints.txt -r .venv/requirements.txt
  # shellcheck disable=SC2086
  remove_unused $kept "$@"
  if [ -z "$ros" ]; then .venv/bin/python tools/patch_ros_wheels.py; fi
  # shellcheck disable=SC2086
  { echo "$wanted"; printf '%s\n' $kept "$@" | sort -u; } >$stamp
}
