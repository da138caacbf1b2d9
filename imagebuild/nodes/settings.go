package nodes

// settings are the keys that both defaults and nodes can give, checked.
type settings struct {
	role     opt[Role]
	iface    opt[string]
	memory   opt[int64]
	domain   opt[string]
	userName opt[string]
	password opt[password]
	keys     opt[[]string]
	timezone opt[string]
	locale   opt[string]
	keymap   opt[string]
	ntp      opt[[]string]
	swap     opt[bool]
	ssh      opt[bool]
	sudo     opt[Sudo]
	wifi     opt[*Wifi]
	cmdline  opt[[]string]
	config   opt[[]string]
	files    opt[[]File]
	overlays opt[[]string]
}

// settings checks each value where it stands. What defaults give is checked
// once, and even if no node uses it.
func (c *checker) settings(d settingsDoc) settings {
	u := d.User.V
	return settings{
		role:     checked(d.Role, c.role),
		iface:    checked(d.Interface, c.netInterface),
		memory:   checked(d.Memory, c.memory),
		domain:   checked(d.Domain, c.domain),
		userName: checked(u.Name, c.userName),
		password: checked(u.Password, c.password),
		keys:     checked(u.AuthorizedKeys, c.authorizedKeys),
		timezone: checked(d.Timezone, c.timezone),
		locale:   checked(d.Locale, c.locale),
		keymap:   checked(d.Keymap, c.keymap),
		ntp:      checked(d.NTP, c.timeServers),
		swap:     checked(d.Swap, truth),
		ssh:      checked(d.SSH, truth),
		sudo:     checked(d.Sudo, c.sudo),
		wifi:     checked(d.Wifi, c.wifi),
		cmdline:  checked(d.Cmdline, c.cmdline),
		config:   checked(d.Config, c.config),
		files:    checked(d.Files, c.files),
		overlays: checked(d.Overlays, c.overlays),
	}
}

// over fills in what s does not give from the defaults. A value replaces its
// default as a whole; the keys of user are values of their own.
func (s settings) over(def settings) settings {
	return settings{
		role:     s.role.or(def.role),
		iface:    s.iface.or(def.iface),
		memory:   s.memory.or(def.memory),
		domain:   s.domain.or(def.domain),
		userName: s.userName.or(def.userName),
		password: s.password.or(def.password),
		keys:     s.keys.or(def.keys),
		timezone: s.timezone.or(def.timezone),
		locale:   s.locale.or(def.locale),
		keymap:   s.keymap.or(def.keymap),
		ntp:      s.ntp.or(def.ntp),
		swap:     s.swap.or(def.swap),
		ssh:      s.ssh.or(def.ssh),
		sudo:     s.sudo.or(def.sudo),
		wifi:     s.wifi.or(def.wifi),
		cmdline:  s.cmdline.or(def.cmdline),
		config:   s.config.or(def.config),
		files:    s.files.or(def.files),
		overlays: s.overlays.or(def.overlays),
	}
}

// fill writes the settings into a node, with piimg's own defaults for what
// nobody gave.
func (s settings) fill(n *Node) {
	n.Role = otherwise(s.role, Plain)
	n.Interface = otherwise(s.iface, "eth0")
	n.Memory = s.memory.v
	n.Domain = s.domain.v
	n.User = User{
		Name:           otherwise(s.userName, "pi"),
		PasswordHash:   s.password.v.hash,
		Password:       s.password.v.clear,
		AuthorizedKeys: s.keys.v,
	}
	n.Timezone = s.timezone.v
	n.Locale = s.locale.v
	n.Keymap = s.keymap.v
	n.NTP = s.ntp.v
	n.Swap = s.swap.v
	n.SSH = otherwise(s.ssh, true)
	n.Sudo = otherwise(s.sudo, SudoNoPassword)
	n.Wifi = s.wifi.v
	n.Cmdline = s.cmdline.v
	n.Config = s.config.v
	n.Files = s.files.v
	n.Overlays = s.overlays.v
}

func otherwise[T any](o opt[T], def T) T {
	if o.absent() {
		return def
	}
	return o.v
}

func truth(v value[bool]) bool { return v.V }

func (c *checker) role(v text) Role {
	return Role(c.choice(v, "role", string(ControlPlane), string(Worker), string(Router), string(Plain)))
}

func (c *checker) sudo(v text) Sudo {
	return Sudo(c.choice(v, "sudo", string(SudoNoPassword), string(SudoPassword), string(SudoNone)))
}
