# SPDX-License-Identifier: Apache-2.0
"""Prometheus: an endpoint, Pushgateway, remote write, queries, alert rules and a dashboard."""
