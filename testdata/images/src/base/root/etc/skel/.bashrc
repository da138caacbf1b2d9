# ~/.bashrc: stand-in for the distribution's
case $- in
    *i*) ;;
      *) return;;
esac
HISTCONTROL=ignoreboth
alias ls='ls --color=auto'
