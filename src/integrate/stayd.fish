# stayd's shell integration for fish: tells the terminal where commands begin and end (OSC 133) and the
# directory (OSC 7). It changes no prompt.
if status is-interactive; and set -q STAYD_SESSION; and not set -q __stayd_here
    set -g __stayd_here 1
    # Before a command. One that begins with a blank is private, and is not told.
    function __stayd_before --on-event fish_preexec
        if string match -qr '^\s' -- "$argv"
            printf '\e]133;C\a'
            return
        end
        printf '\e]133;C;cmdline_url=%s\a' (string sub --length 1024 -- "$argv" | string collect | string escape --style=url)
    end
    function __stayd_after --on-event fish_postexec
        printf '\e]133;D;%s\a' $status
    end
    function __stayd_prompt --on-event fish_prompt
        printf '\e]7;file://%s%s\a\e]133;A\a' (hostname) (string escape --style=url -- $PWD)
    end
end
