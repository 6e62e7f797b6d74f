"""Run the issuer on this machine, without an AWS account and without Visma."""
