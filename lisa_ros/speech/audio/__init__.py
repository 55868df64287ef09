# SPDX-License-Identifier: Apache-2.0
"""Sound in: samples, the microphone, voice activity, utterances."""
