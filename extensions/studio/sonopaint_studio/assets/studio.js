// Page-wide behaviour: theme switch, keyboard, and helpers that the views share.
(() => {
  const KEY = "sonopaint-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  let lastChoice = null;  // for private windows, which store nothing
  const chosen = () => { try { return lastChoice ?? localStorage.getItem(KEY); } catch { return lastChoice; } };

  const wanted = () => (chosen() ? chosen() === "dark" : system.matches);

  // Gradio sets the class too: whoever changes it, our choice stands, and the pictures are drawn anew.
  let shown = null;
  function applyTheme() {
    const dark = wanted();
    if (document.body.classList.contains("dark") !== dark) document.body.classList.toggle("dark", dark);
    if (shown === dark) return;
    shown = dark;
    window.dispatchEvent(new Event("sonopaint-theme"));
  }

  function switchTheme() {
    lastChoice = wanted() ? "light" : "dark";
    try { localStorage.setItem(KEY, lastChoice); } catch { /* the choice lasts for this page */ }
    applyTheme();
  }

  system.addEventListener("change", applyTheme);

  function watchTheme() {
    applyTheme();
    new MutationObserver(applyTheme).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  }
  if (document.body) watchTheme(); else document.addEventListener("DOMContentLoaded", watchTheme);

  const visible = (element) => element && element.offsetParent !== null;
  const press = (id) => {
    const found = document.getElementById(id);
    const button = found?.matches("button") ? found : found?.querySelector("button");
    if (visible(button) && !button.disabled) { button.click(); return true; }
    return false;
  };
  const typing = (target) =>
    target.isContentEditable || /^(TEXTAREA|SELECT)$/.test(target.tagName) ||
    (target.tagName === "INPUT" && !/^(range|checkbox|radio|button)$/.test(target.type));

  document.addEventListener("keydown", (event) => {
    const command = event.ctrlKey || event.metaKey;
    if (command && event.key === "Enter") {
      // Gradio sends a text field's value on "input", so it is up to date when the button is pressed.
      if (press("generate-go") || press("edit-go") || press("dataset-go")) event.preventDefault();
      return;
    }
    if (typing(event.target)) return;
    if (command && event.key.toLowerCase() === "z") {
      if (press(event.shiftKey ? "edit-redo" : "edit-undo")) event.preventDefault();
    } else if (command && event.key.toLowerCase() === "y") {
      if (press("edit-redo")) event.preventDefault();
    }
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest?.("#theme-switch")) switchTheme();
    const popover = document.querySelector("#loras .label-wrap.open");
    if (popover && !event.target.closest("#loras, .options")) popover.click();
  });
  // A file dropped beside a drop zone must not replace the page.
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());

  // What a tab keeps while it is open, also over a reload: its secret name, and what stands in the fields.
  const memory = {};  // where the browser keeps nothing
  const store = (name, text) => { memory[name] = text; try { sessionStorage.setItem(name, text); } catch { /* as above */ } };
  const stored = (name) => { try { return sessionStorage.getItem(name) ?? memory[name]; } catch { return memory[name]; } };
  const kept = stored("sonopaint-fields") ?? "";  // as it stood when the page was left
  function tab() {
    if (!stored("sonopaint-tab")) {
      store("sonopaint-tab", [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join(""));
    }
    return stored("sonopaint-tab");
  }

  // The address names the page: #edit. Back, Forward and bookmarks lead to it.
  const pageOf = (button) => button.textContent.trim().toLowerCase();
  const shownPage = () => {
    const button = document.querySelector("#pages > .tab-wrapper [role=tab][aria-selected=true]");
    return button ? pageOf(button) : "";
  };
  function mountAddress(element, { trigger }) {
    const go = () => {
      const page = location.hash.slice(1);
      if (page && page !== shownPage()) trigger("open", { page });
    };
    const pages = document.getElementById("pages");
    if (!pages) { requestAnimationFrame(() => mountAddress(element, { trigger })); return; }  // it is still being built
    let asked = location.hash.length > 1;
    const follow = () => {
      const page = shownPage();
      if (!page || location.hash === `#${page}`) { asked = false; return; }
      if (asked) return;  // the page that the address asks for is on its way
      history[location.hash ? "pushState" : "replaceState"](null, "", `#${page}`);
    };
    new MutationObserver(follow).observe(pages,
      { attributes: true, childList: true, subtree: true, attributeFilter: ["aria-selected"] });
    follow();
    window.addEventListener("popstate", go);
    window.addEventListener("hashchange", go);
    go();
  }

  // Leaving while a job of this tab runs asks first: it goes on, but not everybody knows. Once only: Gradio cuts
  // its connection at the question, and for who stays it loads the page anew by itself, which finds the job again.
  let asked = false;
  window.addEventListener("beforeunload", (event) => {
    if (!window.Sonopaint.working || asked) return;
    asked = true;
    event.preventDefault();
  });

  Object.assign(window.Sonopaint, {
    tab, kept, mountAddress, working: 0,
    keep: (values) => store("sonopaint-fields", JSON.stringify(values)),
    fileUrl: (path) => new URL(
      "gradio_api/file=" + path.split("/").map(encodeURIComponent).join("/"), location.href.split(/[?#]/)[0],
    ).href,
    colour: (name) => getComputedStyle(document.body).getPropertyValue("--sp-" + name).trim(),
  });
})();
