"""Every test image by its name."""

from __future__ import annotations

from images import analysis, kernels, recipes, suites

RECIPES = recipes.RECIPES | {
    recipe.name: recipe for recipe in (*analysis.ANALYSIS, *suites.ALL, *kernels.ALL)
}
