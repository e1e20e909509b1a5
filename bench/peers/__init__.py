"""What Sluice is measured beside, each started and fed by the same harness."""
