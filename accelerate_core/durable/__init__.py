# SPDX-License-Identifier: Apache-2.0
"""What outlives the process: accepted jobs, runs to be resumed, and the stories of jobs."""
