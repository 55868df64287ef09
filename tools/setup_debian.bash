# SPDX-License-Identifier: Apache-2.0
# Sourced by tools/setup: the interpreter, and what only the system can supply. Asks for the things themselves and not
# for package names, so that a Python from pyenv or conda, or another distribution, is as good.

# Prints the distribution that is sourced (e.g. "jazzy"); nothing where there is none, or only the wheels'.
ros_in_use() {
  local prefix
  [ -n "${ROS_DISTRO:-}" ] || return 0
  while IFS= read -r -d: prefix; do
    case "$prefix" in "$root"/*) continue ;; esac
    if [ -f "$prefix/share/rclpy/package.xml" ]; then
      echo "$ROS_DISTRO"
      return 0
    fi
  done <<<"${AMENT_PREFIX_PATH:-}:"
}

# Prints the path of the first interpreter that is new and old enough; ROS 2's wheels are for 3.11 to 3.13, a sourced ROS
# 2 may have 3.14. Where .venv is active already, the one it was made
# of: an environment cannot be made anew by its own interpreter.
find_python() {
  local name newest=13
  if [ -n "${ros:-}" ]; then newest=14; fi
  for name in ${PYTHON:-python3 python3.12 python3.11 python3.13}; do
    if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, int(sys.argv[1])))' "$newest" 2>/dev/null; then
      "$name" -c 'import sys; print(sys._base_executable if sys.prefix == sys.argv[1] else sys.executable)' "$root/.venv"
      return 0
    fi
  done
  return 1
}

# Prints the Debian packages that hold what is missing for interpreter $1 (empty: none was found).
missing_debian_packages() {
  local python=$1
  if [ -z "$python" ]; then
    echo python3 python3-dev python3-venv libgl1 libglib2.0-0
  else
    "$python" - <<'PYTHON'
import ctypes, importlib.util, pathlib, sys, sysconfig

# Debian names the packages of its default Python without the minor version.
name = pathlib.Path(sys.executable).name if pathlib.Path(sys.executable).resolve() != pathlib.Path("/usr/bin/python3").resolve() else "python3"
if not (pathlib.Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
    print(f"{name}-dev")
if any(importlib.util.find_spec(module) is None for module in ("venv", "ensurepip")):
    print(f"{name}-venv")
# OpenCV's windows are linked to these, also where none is ever opened.
for library, package in (("libGL.so.1", "libgl1"), ("libgthread-2.0.so.0", "libglib2.0-0")):
    try:
        ctypes.CDLL(library)
    except OSError:
        print(package)
PYTHON
  fi
  # The messages are compiled here.
  command -v c++ >/dev/null && command -v cc >/dev/null || echo g++
  command -v make >/dev/null || echo make
}

# Sets $python; installs what is missing (root), or names it. What a Python lacks is seen only once there is one, hence
# the second round.
install_debian_packages() {
  local missing round
  for round in 1 2 3; do
    python=$(find_python || true)
    missing=$(missing_debian_packages "$python" | tr '\n' ' ')
    if [ -z "$missing" ]; then return 0; fi
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
      fail "this machine lacks: ${missing% }. Type: sudo apt-get update && sudo apt-get install ${missing% }"
    fi
    if [ "$round" = 3 ]; then break; fi
    say "Debian packages that Python, the compiler and OpenCV need: $missing"
    apt-get update
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
  done
  [ -n "$python" ] || fail "no Python 3.11, 3.12 or 3.13 here (looked for: ${PYTHON:-python3, python3.11-3.13}); install one, or name it: PYTHON=/path/to/python make setup"
  fail "still missing after apt-get: ${missing% }. Another Python may have them: PYTHON=/usr/bin/python3 make setup"
}

# The tests of the console drive a real browser; without one they are skipped.
install_browser() {
  if command -v chromium >/dev/null || command -v google-chrome >/dev/null; then return 0; fi
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "no Chromium here: the console's page is not tested. Type: sudo apt-get install chromium"
    return 0
  fi
  say "Debian package chromium, for the tests of the console's page"
  apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium ||
    say "Chromium could not be installed: the console's page is not tested"
}

# The tests of spoken commands need voices, and PortAudio for the microphone; without a voice they are skipped.
install_voices() {
  local missing=""
  command -v text2wave >/dev/null && [ -d /usr/share/festival/voices/us/cmu_us_slt_arctic_hts ] || missing="festival festvox-us-slt-hts"
  command -v flite >/dev/null || missing="$missing flite"
  command -v espeak-ng >/dev/null || missing="$missing espeak-ng"
  "$python" -c 'import ctypes; ctypes.CDLL("libportaudio.so.2")' 2>/dev/null || missing="$missing libportaudio2"
  if [ -z "$missing" ]; then return 0; fi
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "spoken commands are not tested here. Type: sudo apt-get install $missing"
    return 0
  fi
  say "Debian packages of voices, for the tests of spoken commands: $missing"
  # shellcheck disable=SC2086
  apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing ||
    say "The voices could not be installed: spoken commands are not tested"
}
