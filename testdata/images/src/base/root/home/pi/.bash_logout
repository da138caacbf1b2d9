# ~/.bash_logout: stand-in
