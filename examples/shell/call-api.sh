#!/bin/sh
# Call an API for a tenant with the AWS CLI and curl (7.55 or later). Paths come in on stdin:
#
#   printf '%s\n' /orders/1 /orders/2 | ./call-api.sh acme https://api.example
#
# A third argument says for how many seconds a token is cached, 300 at most and by default. Prints
# "STATUS PATH" for each, "--- PATH" where there is no token or no answer; standard error says why.

set -u
if [ $# -lt 2 ] || [ $# -gt 3 ] || ! [ "${3:-300}" -le 300 ]; then
    echo "Usage: $0 TENANT API [CACHE_SECONDS] < PATHS" >&2
    exit 2
fi
tenant=$1 api=$2 cache_seconds=${3:-300}
token='' read_at=0 refused=''

# AWS_MAX_ATTEMPTS: reads share a quota with everybody in the account, so some are throttled
export AWS_RETRY_MODE=standard AWS_MAX_ATTEMPTS="${AWS_MAX_ATTEMPTS:-6}"

# Set $token and $read_at, or fail and leave what there was.
read_token() {
    now=$(date +%s)
    newer=$(aws ssm get-parameter --name "/visma/tokens/$tenant" --with-decryption \
        --query Parameter.Value --output text --cli-connect-timeout 5 --cli-read-timeout 10) || return
    token=$newer read_at=$now
}

has_fresh_token() {
    age=$(($(date +%s) - read_at))
    [ -n "$token" ] && [ "$age" -ge 0 ] && [ "$age" -lt "$cache_seconds" ]
}

# Print the status. The token goes in by a pipe: arguments are for everybody to see in `ps`.
call() {
    printf 'Authorization: Bearer %s\n' "$token" | curl --silent --show-error --header @- \
        --connect-timeout 5 --max-time 30 --output /dev/null --write-out '%{http_code}' "$api$1"
}

answer() {
    has_fresh_token || read_token || return
    status=$(call "$1") || return
    if [ "$status" = 401 ] && [ "$token" != "$refused" ]; then
        used=$token
        read_token || return
        if [ "$token" = "$used" ]; then
            refused=$token # nobody has another: don't read again for this one
        else
            status=$(call "$1") || return
        fi
    fi
}

failed=0
while IFS= read -r path; do
    case $path in
    /*) answer "$path" || status='---' ;;
    *) echo "a path starts with /: $path" >&2 && status='---' ;;
    esac
    case $status in 2??) ;; *) failed=1 ;; esac
    printf '%s %s\n' "$status" "$path"
done
exit $failed
