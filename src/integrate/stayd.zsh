# stayd's shell integration for zsh: tells the terminal where commands begin and end (OSC 133) and the
# directory (OSC 7). It changes no prompt.
if [[ -o interactive && -n ${STAYD_SESSION-} && -z ${__stayd_here-} ]]; then
    __stayd_here=1
    # Sets REPLY to $1, percent-encoded byte by byte.
    __stayd_encode() {
        emulate -L zsh
        setopt no_multibyte
        local char number
        REPLY=
        for char in ${(s::)${1[1,1024]}}; do
            case $char in
                ([a-zA-Z0-9/._~-]) REPLY+=$char ;;
                (*)
                    number=$((#char & 255))
                    REPLY+=%$(([##16]number / 16))$(([##16]number % 16))
                    ;;
            esac
        done
    }
    # Before a command. One that begins with a blank is private, and is not told.
    __stayd_before() {
        emulate -L zsh
        local REPLY
        __stayd_encode "${${1:#[[:blank:]]*}}"
        printf '\e]133;C;cmdline_url=%s\a' "$REPLY"
        __stayd_runs=1
    }
    # Before a prompt. zsh keeps the command's status for the next one.
    __stayd_prompt() {
        local kept=$? REPLY
        emulate -L zsh
        [[ -z ${__stayd_runs-} ]] || printf '\e]133;D;%s\a' "$kept"
        __stayd_runs=
        __stayd_encode "$PWD"
        printf '\e]7;file://%s%s\a\e]133;A\a' "$HOST" "$REPLY"
    }
    typeset -ga precmd_functions preexec_functions
    # First of all, so that it sees the command's status.
    precmd_functions=(__stayd_prompt "${precmd_functions[@]}")
    preexec_functions+=(__stayd_before)
fi
