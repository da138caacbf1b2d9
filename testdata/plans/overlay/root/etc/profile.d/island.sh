export ISLAND=villagers
