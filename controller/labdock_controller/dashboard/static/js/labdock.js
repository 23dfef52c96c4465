// What every page has. Each behaviour is a module that listens on the document, so content that comes later has it too.
import "./forms.js";
import "./dialogs.js";
import "./menus.js";
import "./tabs.js";
import "./copy.js";
import "./theme.js";
import "./times.js";
import "./filter.js";
import "./keys.js";
import "./refresh.js";
import "./live.js";
