// Only what the pages use; sorting and filtering are the engine's.
export {
  AjaxModule, ColumnCalcsModule, FormatModule, InteractionModule, MoveColumnsModule, PageModule, ResizeColumnsModule,
  ResizeTableModule, SortModule, SelectRowModule, TooltipModule, FrozenColumnsModule, KeybindingsModule, Tabulator,
} from "tabulator-tables";
