# stayd's shell integration for bash: tells the terminal where commands begin and end (OSC 133) and
# the directory (OSC 7). It changes no prompt. `local -` keeps the user's `set -eux` out of it.
if [[ $- == *i* && -n ${STAYD_SESSION-} && -z ${__stayd_here-} ]]; then
    __stayd_here=1
    # Sets REPLY to $1, percent-encoded byte by byte.
    __stayd_encode() {
        local LC_ALL=C at char number
        REPLY=
        for ((at = 0; at < ${#1} && at < 1024; at++)); do
            char=${1:at:1}
            case $char in
                [a-zA-Z0-9/._~-]) REPLY+=$char ;;
                *)
                    printf -v number %d "'$char"
                    printf -v char '%%%02X' $((number & 255))
                    REPLY+=$char
                    ;;
            esac
        done
    }
    # Sets number and command to those of the history's last entry.
    __stayd_last_entry() {
        command=$(HISTTIMEFORMAT='' builtin history 1)
        command=${command#"${command%%[![:blank:]]*}"}
        number=${command%%[!0-9]*}
        command=${command#"$number"}
        command=${command#[*]}
        command=${command#'  '}
    }
    # Before a command, in a subshell: with the command, unless the history leaves it out or it begins
    # with a blank, by which one says that it is private.
    __stayd_before() {
        { local - && set +eux; } 2>/dev/null
        local number command REPLY
        __stayd_last_entry
        if [[ -n $number && $number != "${__stayd_number-}" && $command != [[:blank:]]* ]]; then
            __stayd_encode "$command"
            printf '\e]133;C;cmdline_url=%s\a' "$REPLY"
        else
            printf '\e]133;C\a'
        fi
    }
    # Before a prompt.
    __stayd_prompt() {
        local status=$?
        { local - && set +eux; } 2>/dev/null
        local number command REPLY
        [[ -z ${__stayd_runs-} ]] || printf '\e]133;D;%s\a' "$status"
        __stayd_runs=
        __stayd_encode "$PWD"
        printf '\e]7;file://%s%s\a\e]133;A\a' "${HOSTNAME-}" "$REPLY"
        __stayd_last_entry
        __stayd_number=$number
    }
    if shopt -q promptvars; then
        # The first part sets a variable and prints nothing of another.
        PS0=${PS0-}'${__stayd_here:$((__stayd_runs=1,0)):0}$(__stayd_before)'
    fi
    if [[ -n ${STAYD_INTEGRATE-} ]]; then
        # The session has loaded this by way of the first prompt, which is about to be shown.
        PROMPT_COMMAND=${PROMPT_COMMAND/'eval "$STAYD_INTEGRATE"'/:}
        export -n PROMPT_COMMAND
        unset STAYD_INTEGRATE
        __stayd_prompt
    fi
    if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 501)); then
        # bash gives each of them the command's status.
        PROMPT_COMMAND=(__stayd_prompt "${PROMPT_COMMAND[@]}")
    else
        PROMPT_COMMAND="__stayd_prompt${PROMPT_COMMAND:+; $PROMPT_COMMAND}"
    fi
fi
