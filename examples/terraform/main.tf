# A tenant declared next to its consumer, whose role may read tokens. The issuer's stack is in the
# same account and Region.

variable "tenant_id" {
  type        = string
  description = "The company's; its administrator must have granted the application."
}

data "aws_cloudformation_stack" "issuer" {
  name = "token-issuer"
}

# Once this is destroyed, the token is not renewed, and is removed when it expires. Never read a token
# with a data source: it would be in Terraform's state.
resource "aws_ssm_parameter" "tenant" {
  name = "/visma/tenants/acme"
  type = "String"
  value = jsonencode({
    tenant_id = var.tenant_id
    scope     = "vismanet_erp_service_api:read"
    note      = "declared by the service orders"
  })
}

resource "aws_iam_role" "orders" {
  name_prefix = "orders-"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "read_tokens" {
  role       = aws_iam_role.orders.name
  policy_arn = data.aws_cloudformation_stack.issuer.outputs["ReadTokensPolicyArn"]
}
