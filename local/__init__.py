"""What the issuer runs on without an AWS account and without Visma."""
