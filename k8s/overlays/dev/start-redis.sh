#!/bin/sh
# Writes the users from the rules in /etc/insula and the passwords in /run/secrets/insula, and becomes Valkey.
# The file NAME of the Secret has the password of the user insula-NAME. A new API needs a file and a restart.
set -eu
umask 077
rules=${RULES:-/etc/insula} secrets=${SECRETS:-/run/secrets/insula} users=${USERS:-/run/users}/users.acl
{
    echo "user default off"
    for file in "$secrets"/*; do
        name=${file##*/}
        digest=$(printf %s "$(cat "$file")" | sha256sum | cut -d ' ' -f 1)
        case $name in
        worker-*) echo "user insula-$name on #$digest $(sed "s/API/${name#worker-}/g" "$rules/worker.acl")" ;;
        *) echo "user insula-$name on #$digest $(cat "$rules/$name.acl")" ;;
        esac
    done
} >"$users"
exec valkey-server --dir "${DATA:-/data}" --aclfile "$users" --appendonly yes --appendfsync always --save "" \
    --maxmemory 512mb --maxmemory-policy noeviction --hash-max-listpack-entries 32 --hash-max-listpack-value 8192 "$@"
