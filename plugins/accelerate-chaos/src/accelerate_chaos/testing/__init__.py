# SPDX-License-Identifier: Apache-2.0
"""What users test their own fleets with."""
