"""Keep OAuth2 access tokens fresh: one Lambda function, one parameter per tenant."""
