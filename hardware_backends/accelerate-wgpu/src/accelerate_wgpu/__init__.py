# SPDX-License-Identifier: Apache-2.0
"""Plans on the GPU without a browser."""
