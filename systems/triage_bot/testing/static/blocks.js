// Block Kit as elements; texts are set as text, never as markup.

const EMOJI = { warning: "⚠", white_check_mark: "✓", x: "✗" };
const MARKS = /<@(\w+)>|\*([^*\n]+)\*|(?<!\w)_([^_\n]+)_(?!\w)|:(\w+):/g;

export function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

// Slack's mrkdwn, as far as the bot writes it.
export function marked(text, people) {
  const out = document.createDocumentFragment();
  for (const [at, line] of String(text).split("\n").entries()) {
    if (at) out.append("\n");
    const quoted = line.startsWith(">");
    const target = quoted ? element("span", "quote") : out;
    inline(quoted ? line.slice(1) : line, people, target);
    if (quoted) out.append(target);
  }
  return out;
}

function inline(line, people, out) {
  let last = 0;
  for (const found of line.matchAll(MARKS)) {
    const [all, who, bold, slanted, emoji] = found;
    out.append(plain(line.slice(last, found.index)));
    if (who) out.append(element("span", "mention", "@" + (people[who] ?? who)));
    else if (bold) out.append(element("strong", "", plain(bold)));
    else if (slanted) out.append(element("em", "", plain(slanted)));
    else out.append(EMOJI[emoji] ?? all);
    last = found.index + all.length;
  }
  out.append(plain(line.slice(last)));
}

function plain(text) {
  return text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}

export function blocks(list, people, press) {
  return list.map((block) => BLOCKS[block.type]?.(block, people, press) ?? "");
}

const BLOCKS = {
  header: (b) => element("div", "block-header", b.text.text),
  divider: () => element("hr"),
  context: (b, people) =>
    element("div", "block-context", ...b.elements.map((e) => marked(e.text, people))),
  section: (b, people, press) =>
    element(
      "div",
      "block-section",
      element("div", "", marked(b.text.text, people)),
      ...(b.accessory ? [button(b.accessory, b, press)] : []),
    ),
  actions: (b, people, press) =>
    element("div", "block-actions", ...b.elements.map((e) => button(e, b, press))),
  input: (b, people) => field(b, people),
};

function button(spec, block, press) {
  const looks = { primary: "", danger: "danger" }[spec.style] ?? "plain";
  const made = element("button", looks, spec.text.text);
  made.type = "button";
  made.addEventListener("click", () =>
    press({ action_id: spec.action_id, block_id: block.block_id ?? "", value: spec.value }),
  );
  return made;
}

// -- fields -----------------------------------------------------------------------------------

function field(block, people) {
  const input = FIELDS[block.element.type](block.element, people);
  const id = `field-${block.block_id}`;
  const label = element("label", "", block.label.text + (block.optional ? " (optional)" : ""));
  label.htmlFor = input.id = id;
  const error = element("span", "error");
  error.id = `${id}-error`;
  error.setAttribute("role", "alert");
  input.setAttribute("aria-describedby", error.id);
  const made = element("div", "field", label, input, error);
  made.dataset.block = block.block_id;
  made.dataset.type = block.element.type;
  return made;
}

function choices(options) {
  const made = element("select", "", element("option", "", "Choose …"));
  made.firstChild.value = "";
  for (const [value, text] of options) {
    const option = element("option", "", text);
    option.value = value;
    made.append(option);
  }
  return made;
}

function text(kind, spec) {
  const made = element("input");
  made.type = kind;
  if (spec.max_length) made.maxLength = spec.max_length;
  return made;
}

const FIELDS = {
  static_select: (s) => choices(s.options.map((o) => [o.value, o.text.text])),
  users_select: (s, people) => choices(Object.entries(people)),
  number_input: (s) => text("number", s),
  datepicker: (s) => Object.assign(text("date", s), { value: s.initial_date ?? "" }),
  plain_text_input: (s) => (s.multiline ? element("textarea") : text("text", s)),
};

// A field's value as Slack sends it.
export function valueOf(made) {
  const value = made.querySelector("input, select, textarea").value;
  const type = made.dataset.type;
  if (type === "static_select") return { type, selected_option: value ? { value } : null };
  if (type === "users_select") return { type, selected_user: value || null };
  if (type === "datepicker") return { type, selected_date: value || null };
  return { type, value: value || null };
}
