#!/bin/sh
# Call an API for a tenant with the AWS CLI and curl (7.55 or later). Paths are read from stdin:
#
#   printf '%s\n' /orders/1 /orders/2 | ./call-api.sh acme https://api.example
#
# A third argument is for how many seconds a token is cached, 300 at most and by default. Prints
# "STATUS PATH" for each path, or "--- PATH" if there is no token or no answer; standard error says
# why.

# A token is in variables of the shell only: neither exported nor traced, whatever the caller has set
# (`set -a`, SHELLOPTS, BASH_ENV, a variable that is exported, an alias or a function).
set -u +a +v +x
LC_ALL=C # [A-Z] is ASCII only
case $- in *k*) set +k ;; esac # of bash: `export A=b` would print all that is exported
unalias -a
unset -f curl printf
unset -v token newer used refused

usage() {
    printf '%s\n' "Usage: $0 TENANT API [CACHE_SECONDS] < PATHS" "$1" >&2
    exit 2
}

# Tell whether a token may be sent to a URL: by https, or by plain http to this machine, for trying.
is_safe() {
    case $1 in
    https://?*) return 0 ;;
    http://127.0.0.1:[0-9]* | http://localhost:[0-9]*) ;;
    *) return 1 ;;
    esac
    port=${1#http://*:}
    case ${port%%/*} in *[!0-9]*) return 1 ;; esac
}
[ $# -eq 2 ] || [ $# -eq 3 ] || usage "Two or three arguments are wanted."
tenant=$1 api=${2%/} cache_seconds=${3:-300}
case $tenant in '' | *[!A-Za-z0-9_.-]*) usage "That is no name of a tenant." ;; esac
is_safe "$api" || usage "The API has to be at https://…"
endpoint=${AWS_ENDPOINT_URL_SSM:-${AWS_ENDPOINT_URL-}} # an endpoint in ~/.aws/config is not checked
is_safe "${endpoint:-https://ssm}" || usage "AWS_ENDPOINT_URL has to be at https://…"
case "$api $endpoint" in # no proxy for this machine
http:* | *' http:'*) export no_proxy="127.0.0.1,localhost,${no_proxy-${NO_PROXY-}}" ;;
esac
case $cache_seconds in '' | *[!0-9]* | ????*) cache_seconds=0 ;; esac
[ "$cache_seconds" -ge 1 ] && [ "$cache_seconds" -le 300 ] || usage "Cache for 1 to 300 seconds."
for program in aws curl; do
    command -v "$program" >/dev/null || usage "$program is not installed."
done
case $(command -v printf) in */*) usage "This shell's printf is a program, whose arguments show." ;; esac

# reads share a quota with everybody in the account, so some are throttled
export AWS_RETRY_MODE=standard AWS_MAX_ATTEMPTS=5
# with `cli_history = enabled`, the AWS CLI would write tokens to a file; / can't be that file
export AWS_CLI_HISTORY_FILE=/ AWS_CLI_AUTO_PROMPT=off AWS_PAGER=
token='' used='' refused='' read_at=0 failed_at=0
carriage_return=$(printf '\r')

# Tell whether less than $1 seconds have passed since $2; false if the clock was set back.
is_within() {
    seconds=$(($(date +%s) - $2))
    [ "$seconds" -ge 0 ] && [ "$seconds" -lt "$1" ]
}

# Set $token and $read_at, or fail and leave them; after a failure, nothing is read for two seconds.
read_token() {
    if is_within 2 "$failed_at"; then
        echo "$tenant: a read has just failed" >&2
        return 1
    fi
    started_at=$(date +%s)
    newer=$(aws ssm get-parameter --name "/visma/tokens/$tenant" --with-decryption \
        --query Parameter.Value --output text --cli-connect-timeout 3 --cli-read-timeout 5 \
        </dev/null) || { failed_at=$(date +%s) && return 1; }
    case $newer in # RFC 6750 §2.1; anything else could add headers
    '' | None | *[!A-Za-z0-9._~+/=-]*)
        echo "/visma/tokens/$tenant holds no access token" >&2
        failed_at=$(date +%s)
        return 1
        ;;
    esac
    token=$newer read_at=$started_at
}

# Print the status. The token is piped in, since everybody sees arguments in `ps`. --disable ignores
# ~/.curlrc, which could print it. With --globoff, a path with [1-3] is one path.
call() {
    printf 'Authorization: Bearer %s\n' "$token" | curl --disable --globoff --silent --show-error \
        --connect-timeout 5 --max-time 30 --header @- --output /dev/null \
        --write-out '%{http_code}' "$api$1"
}

# Set $status. After a 401, read the token once more; not again while it is still the refused one.
answer() {
    [ -n "$token" ] && is_within "$cache_seconds" "$read_at" || read_token || return 1
    status=$(call "$1") || return 1
    [ "$status" = 401 ] && [ "$token" != "$refused" ] || return 0
    used=$token
    read_token || return 0
    if [ "$token" = "$used" ]; then
        refused=$token
    else
        status=$(call "$1") || return 1
    fi
}

failed=0
while IFS= read -r path || [ -n "$path" ]; do
    path=${path%"$carriage_return"}
    case $path in
    *[!\ -~]*) # a terminal would obey some of these characters
        path=$(printf '%s' "$path" | tr -c ' -~' '[?*]')
        printf '%s\n' "a path is ASCII, and percent-encoded: $path" >&2
        status='---'
        ;;
    /*) answer "$path" || status='---' ;;
    *)
        printf '%s\n' "a path starts with /: $path" >&2
        status='---'
        ;;
    esac
    case $status in 2??) ;; *) failed=1 ;; esac
    printf '%s %s\n' "$status" "$path"
done
exit $failed
