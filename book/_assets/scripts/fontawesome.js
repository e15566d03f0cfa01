/*!
 * Font Awesome Free by @fontawesome - https://fontawesome.com
 * License - https://fontawesome.com/license/free (Icons: CC BY 4.0, Fonts: SIL OFL 1.1, Code: MIT License)
 * Copyright Fonticons, Inc.
 *
 * Stands in for the theme's script of the same name: icons come from the subset fonts in
 * ../vendor/fontawesome/webfonts, written by tools/subset_icons.py. Nothing is left to do here.
 */
