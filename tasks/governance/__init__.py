"""Governance: ledger, manifest, lineage, erasure, report."""
